/** JSON schemas, read as far as forms need it. */

/** The schema that a reference stands for. */
export function resolved(schema, parts) {
  const name = schema.$ref?.split("/");
  return name ? { ...parts[name.at(-1)], ...withoutRef(schema) } : schema;
}

function withoutRef({ $ref, ...rest }) {
  return rest;
}

/**
 * What a property is to a form: `kind` is text, number, choice, lines, table, file or json, or none where there is
 * nothing to choose; `optional` whether it may be left out, `media` the media type of a file.
 */
export function described(property, parts, required) {
  const given = resolved(property, parts);
  const choices = (given.anyOf ?? [given]).map((one) => resolved(one, parts));
  const real = choices.filter((one) => one.type !== "null");
  const nullable = real.length < choices.length;
  const one = real.length === 1 ? real[0] : {};
  const about = {
    ...kindOf(one, real, parts),
    description: given.description ?? one.description ?? "",
    default: given.default,
    minimum: one.minimum,
    maximum: one.maximum,
    optional: nullable || !required,
    nullable,
  };
  return real.length ? about : { ...about, kind: "none" };
}

const holdsTexts = (schema) => schema.type === "array" && schema.items?.type === "string";

/** All that it may be, where that can be counted. */
function valuesOf(schema) {
  if (schema.enum) return schema.enum;
  if (schema.type === "boolean") return [true, false];
  return schema.minimum !== undefined && schema.minimum === schema.maximum ? [schema.minimum] : [undefined];
}

function kindOf(one, real, parts) {
  if (one.contentEncoding === "base64") return { kind: "file", media: one.contentMediaType ?? "*/*" };
  const choices = real.flatMap(valuesOf);
  if (!choices.includes(undefined)) return { kind: choices.length > 1 ? "choice" : "none", choices };
  if (one.type === "integer" || one.type === "number") return { kind: "number", whole: one.type === "integer" };
  if (one.type === "string") return { kind: "text" };
  if (one.type === "array" && resolved(one.items ?? {}, parts).type === "string") {
    return resolved(one.items, parts).contentEncoding ? { kind: "none" } : { kind: "lines" };
  }
  if (real.some((each) => each.type === "string" && !each.contentEncoding) && real.some(holdsTexts)) return { kind: "lines" };
  if (holdsTexts(resolved(one.additionalProperties || {}, parts))) return { kind: "table" };
  const file = real.find((each) => each.contentEncoding === "base64");
  return file ? { kind: "file", media: file.contentMediaType } : { kind: "json" };
}
