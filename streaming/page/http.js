// Requests to the server of this page. Knows the one shape of its errors; knows nothing of what is asked.

/** What the server answered instead of what was asked for. `code` is the server's, or "unreachable". */
export class RequestFailed extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** Sends `body` (an object as JSON, a Blob as it is) and returns the JSON answer, null for none. Throws RequestFailed. */
export async function request(method, url, body) {
  const isJson = body !== undefined && !(body instanceof Blob);
  const headers = { ...(isJson && { "Content-Type": "application/json" }), ...(body instanceof Blob && { "Content-Type": body.type || "image/unknown" }) };
  let response;
  try {
    response = await fetch(url, { method, headers, body: isJson ? JSON.stringify(body) : body });
  } catch {
    throw new RequestFailed("unreachable", "the server does not answer; is it still running?");
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const { code = `http_${response.status}`, message = `the server answered ${response.status}` } = answer.error ?? {};
    throw new RequestFailed(code, message);
  }
  return answer;
}
