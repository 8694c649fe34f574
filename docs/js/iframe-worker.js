/* The search of the site runs in a worker, and browsers start no workers for pages that were opened from a folder.
   For such pages, this class runs the script of a worker in a hidden frame instead. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    #frame = document.createElement("iframe");
    #started = new Promise((started) => {
      this.#frame.hidden = true;
      this.#frame.onload = () => started(this.#frame.contentWindow);
      document.documentElement.append(this.#frame);
    });

    constructor(url) {
      super();
      this.#started = this.#started.then((inside) => new Promise((loaded) => {
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        const script = inside.document.createElement("script");
        script.onload = () => loaded(inside);
        script.src = url;
        inside.document.body.append(script);
      }));
    }

    postMessage(data) {
      this.#started.then((inside) => inside.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.#frame.remove();
    }
  };
}
