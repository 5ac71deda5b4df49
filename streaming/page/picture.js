// The viewer's own pictures: how they come to the page, and what is made of them before they are sent.

/** What the server takes as it is (engine/portrait.py), and the longest side that it keeps (streaming/portraits.py). */
const TAKEN = { types: ["image/png", "image/jpeg", "image/webp"], maxBytes: 10_000_000, maxPixels: 12_500_000, maxSide: 4096 };
const KEPT_SIDE = 1024;

/** The picture in a file, drawn anew where the server would not take it: larger ones, and whatever else a browser reads. */
export async function fit(file) {
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw new Error("the file is no picture that this browser can read; choose a PNG, JPEG or WebP file");
  }
  const { width, height } = image;
  const small = file.size <= TAKEN.maxBytes && width * height <= TAKEN.maxPixels && Math.max(width, height) <= TAKEN.maxSide;
  if (small && TAKEN.types.includes(file.type)) return file;
  const scale = Math.min(1, KEPT_SIDE / Math.max(width, height));
  const canvas = new OffscreenCanvas(Math.ceil(scale * width), Math.ceil(scale * height));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/png" });
}

/** Calls `take(file)` for a file that is chosen with `input`, or dropped or pasted anywhere on the page. */
export function whenGiven(input, take) {
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = ""; // so that the same one can be chosen again
    if (file) take(file);
  });
  // Let fall unheard, a picture would take the place of the page.
  document.addEventListener("dragover", (event) => event.dataTransfer.types.includes("Files") && event.preventDefault());
  for (const kind of ["drop", "paste"]) {
    document.addEventListener(kind, (event) => {
      const [file] = (event.dataTransfer ?? event.clipboardData)?.files ?? [];
      if (!file) return;
      event.preventDefault();
      take(file);
    });
  }
}
