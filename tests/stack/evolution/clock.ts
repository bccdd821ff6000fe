/** A clock that runs, or stands until it is moved, and what is due by it. */

/** See above. */
export class Clock {
  #ahead_ms = 0;
  #stands_ms: number | null = null;
  #timer: number | undefined;
  #due: { at: number; run: () => void }[] = [];

  /** Milliseconds since the epoch, and what it was moved by. */
  now(): number {
    return (this.#stands_ms ?? Date.now()) + this.#ahead_ms;
  }

  /** From now on time passes by `move` alone. */
  stand(): void {
    this.#stands_ms ??= Date.now();
    clearTimeout(this.#timer);
  }

  /** Runs this in so many milliseconds. */
  in(ms: number, run: () => void): void {
    this.#due.push({ at: this.now() + ms, run });
    this.#due.sort((a, b) => a.at - b.at);
    this.#arm();
  }

  /** When the next thing is due. */
  next(): number | undefined {
    return this.#due[0]?.at;
  }

  /** Lets so many milliseconds pass, and runs what is due by then. */
  move(ms: number): void {
    this.#ahead_ms += ms;
    this.#ring();
  }

  /** Forgets what is due. */
  clear(): void {
    this.#due = [];
    clearTimeout(this.#timer);
  }

  #ring(): void {
    const now = this.now();
    const later = this.#due.findIndex(({ at }) => at > now);
    for (const { run } of this.#due.splice(0, later < 0 ? Infinity : later)) run();
    this.#arm();
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#stands_ms !== null || this.#due.length === 0) return;
    this.#timer = setTimeout(() => this.#ring(), Math.max(0, this.#due[0].at - this.now()));
  }
}
