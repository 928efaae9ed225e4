/** What is said of the command line's ways, in the words of this page. */

import { label } from "./fields.js";

const VERBS = { logs: "Logs", start: "Start", stop: "Stop", restart: "Restart", rm: "Remove" };

// The options that are fields of the form, and those of them that have another name there.
const FIELDS = new Set(
  "name task type revision device dtype port host api-key ssl-certfile ssl-keyfile threads memory python env backend optimize no-optimize trust-remote-code allow-pickle allow-origin allow-media-url max-batch-size max-batch-tokens batch-window".split(" "),
);
const RENAMED = {
  type: "Model type",
  "api-key": "API key",
  "allow-origin": "Allow origins",
  "allow-media-url": "Allow media urls",
  "no-optimize": "Optimize: no",
  "max-batch-size": "Max size",
  "max-batch-tokens": "Max tokens",
  "batch-window": "Window",
};

/** `text` as whoever reads it here can follow it. What only a terminal does stays as it is. */
export function here(text = "") {
  return text
    .replace(/`?\bmodeldeploy (logs|start|stop|restart|rm)(?: -f)? [\w-]+`?/g, (_, verb) => `“${VERBS[verb]}”`)
    .replace(/\bmodeldeploy ls\b/g, "“All deployments”")
    .replace(/\bmodeldeploy deploy --help/g, "what is said of each field")
    .replace(/(?<![\w-])--([a-z-]+)/g, (option, name) => (FIELDS.has(name) ? `“${RENAMED[name] ?? label(name.replaceAll("-", "_"))}”` : option));
}
