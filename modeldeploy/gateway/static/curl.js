/** The same request, to type in a shell. */

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const KEY = ' -H "authorization: Bearer $KEY"';

/** A file in a form, by curl's own quoting where its name needs it. */
const at = (name) => (/[;,"\\]/.test(name) ? `@"${name.replace(/["\\]/g, "\\$&")}"` : `@${name}`);

/**
 * `files` are names of files, by field: they go as a form, the rest of the body with them.
 * `keyed`: with an API key, which the shell has and this page does not write down.
 */
export function curl(path, body, { files = {}, keyed = false } = {}) {
  const url = new URL(path, `${location.origin}/`).href + (keyed ? KEY : "");
  if (!Object.keys(files).length) {
    return `curl ${url} -H 'content-type: application/json' -d ${quoted(JSON.stringify(body))}`;
  }
  const parts = Object.entries(body).map(([name, value]) => {
    if (files[name]) return `-F ${quoted(name + "=" + at(files[name]))}`;
    return `--form-string ${quoted(`${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)}`;
  });
  return [`curl ${url}`, ...parts].join(" ");
}
