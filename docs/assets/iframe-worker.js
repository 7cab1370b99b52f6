/* Search on pages opened from disk. Browsers start no worker from file://, so this runs the script of
   one in a hidden frame: it posts and receives messages and imports scripts as a worker does. */
(function () {
  if (location.protocol !== "file:") return;

  class IFrameWorker extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.ready = new Promise((resolve) => {
        if (document.body) resolve();
        else addEventListener("DOMContentLoaded", resolve);
      }).then(() => this.start(new URL(url, document.baseURI)));
    }

    start(url) {
      document.body.appendChild(this.frame);
      const inside = this.frame.contentWindow;
      const run = (source) =>
        new Promise((resolve, reject) => {
          const script = inside.document.createElement("script");
          script.src = new URL(source, url);
          script.onload = resolve;
          script.onerror = reject;
          inside.document.body.appendChild(script);
        });
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      inside.importScripts = (...sources) =>
        sources.reduce((done, source) => done.then(() => run(source)), Promise.resolve());
      return run(url);
    }

    postMessage(data) {
      this.ready.then(() => {
        const inside = this.frame.contentWindow;
        inside.dispatchEvent(new inside.MessageEvent("message", { data }));
      });
    }

    terminate() {
      this.frame.remove();
    }
  }

  window.IFrameWorker = window.Worker = IFrameWorker;
})();
