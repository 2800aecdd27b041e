// Keeps the end of a growing conversation in view, until the reader scrolls away; then it offers the way back.

const NEAR = 48; // pixels from the end that count as being there

export class Scroll {
  #area;
  #jump;
  #isFollowing = true;
  #lastTop = 0;

  /** area: the element that scrolls; jump: the button that leads to its end. */
  constructor(area, jump) {
    this.#area = area;
    this.#jump = jump;
    area.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    jump.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.follow()).observe(area);
  }

  follow() {
    if (this.#isFollowing) this.#area.scrollTop = this.#area.scrollHeight;
    this.#showJump();
  }

  toEnd() {
    this.#isFollowing = true;
    this.follow();
  }

  toStart() {
    this.to(this.#area.firstElementChild);
  }

  /** element: one inside the area. */
  to(element) {
    this.#isFollowing = false;
    element.scrollIntoView({ block: "start" });
    this.#showJump();
  }

  // Growing never scrolls up, so a smaller scrollTop away from the end is the reader's doing.
  #onScroll() {
    const { scrollTop } = this.#area;
    if (this.#distance() <= NEAR) this.#isFollowing = scrollTop >= this.#lastTop || this.#distance() <= 1;
    else if (scrollTop < this.#lastTop) this.#isFollowing = false;
    this.#lastTop = scrollTop;
    this.#showJump();
  }

  #distance() {
    return this.#area.scrollHeight - this.#area.clientHeight - this.#area.scrollTop;
  }

  #showJump() {
    this.#jump.hidden = this.#isFollowing || this.#distance() <= NEAR;
  }
}
