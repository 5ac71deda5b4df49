// What is being spoken, shown word by word. A line is announced once, as a whole, to whoever listens to the page.

const LINGER_MS = 1500;

export class Captions {
  #line = "";
  #timer = 0;

  constructor(element) {
    this.element = element;
  }

  /** Shows a line; the first `num_heard` of its words have begun. No blank stands before those that are `joined`. */
  show({ utterance, words, joined = [], num_heard: numHeard }) {
    clearTimeout(this.#timer);
    const line = `${utterance} ${words.join(" ")}`;
    if (line !== this.#line) {
      this.#line = line;
      this.element.replaceChildren(...words.flatMap((word, i) => [joined.includes(i) ? "" : " ", spanOf(word)]));
    }
    [...this.element.children].forEach((span, index) => span.classList.toggle("heard", index < numHeard));
  }

  /** The utterance has ended: its last line stays for a moment, unless it was interrupted. */
  end({ interrupted }) {
    clearTimeout(this.#timer);
    if (interrupted) this.clear();
    else this.#timer = setTimeout(() => this.clear(), LINGER_MS);
  }

  clear() {
    clearTimeout(this.#timer);
    this.#line = "";
    this.element.replaceChildren();
  }
}

function spanOf(word) {
  const span = document.createElement("span");
  span.textContent = word;
  return span;
}
