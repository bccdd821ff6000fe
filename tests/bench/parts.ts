/** What belongs together, and ends together. */

/** Whatever can be stopped. */
export interface Part {
  stop(): Promise<void>;
}

/** Parts that need those before them. */
export class Parts implements Part {
  readonly #parts: Part[] = [];

  /** Adds a part as soon as it has started. */
  async add<T extends Part>(starting: Promise<T>): Promise<T> {
    const part = await starting;
    this.#parts.push(part);
    return part;
  }

  /** Stops all, the last one first. */
  async stop(): Promise<void> {
    for (const part of this.#parts.splice(0).reverse()) await part.stop();
  }
}
