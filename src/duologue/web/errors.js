// An error that the page itself explains, by `code`; see notices.js. `detail` is shown as it is.
export class PageError extends Error {
  constructor(code, detail = "") {
    super(code);
    this.code = code;
    this.detail = detail;
  }
}
