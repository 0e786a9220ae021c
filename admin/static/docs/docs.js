// Shows what /openapi.json says, and tries it. Everything is put in as text, never as markup, and the key that is
// typed in stays in its field.
"use strict";

let description = null; // what the server says of itself

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes || {})) made.setAttribute(attribute, value);
  for (const child of children) if (child !== null && child !== undefined && child !== "") made.append(child);
  return made;
}

function resolved(node) {
  let found = node;
  while (found && found.$ref) {
    found = found.$ref.slice(2).split("/").reduce((part, name) => part[name.replace(/~1/g, "/").replace(/~0/g, "~")], description);
  }
  return found || {};
}

// Schemas

function typeOf(node) {
  const schema = resolved(node);
  const several = schema.anyOf || schema.oneOf;
  if (several) return several.map(typeOf).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return "list of " + (schema.items ? typeOf(schema.items) : "anything");
  const type = Array.isArray(schema.type) ? schema.type.join(" or ") : schema.type || "anything";
  if (type === "object" && schema.title) return schema.title;
  return schema.format ? type + " (" + schema.format + ")" : type;
}

const BOUNDS = {
  minimum: "≥ ", maximum: "≤ ", exclusiveMinimum: "> ", exclusiveMaximum: "< ",
  minLength: "length ≥ ", maxLength: "length ≤ ", minItems: "items ≥ ", maxItems: "items ≤ ", pattern: "pattern ",
};

function bounds(node) {
  const schema = resolved(node);
  const said = Object.entries(BOUNDS).filter(([name]) => schema[name] !== undefined).map(([name, word]) => word + schema[name]);
  if (schema.default !== undefined) said.push("default " + JSON.stringify(schema.default));
  return said.join(", ");
}

function objectsIn(node) {
  const schema = resolved(node);
  if (schema.properties) return [schema];
  if (schema.items) return objectsIn(schema.items);
  return (schema.anyOf || schema.oneOf || []).flatMap(objectsIn);
}

function shape(node, seen) {
  const box = element("div", { class: "properties" });
  for (const schema of objectsIn(node)) {
    if (seen.includes(schema)) continue;
    for (const [name, property] of Object.entries(schema.properties)) {
      const needed = (schema.required || []).includes(name) ? " required" : "";
      const facts = [bounds(property), resolved(property).description].filter(Boolean).join(". ");
      box.append(element("div", {}, element("code", {}, name), " ", element("span", { class: "type" }, typeOf(property) + needed), " ", element("span", { class: "note" }, facts)));
      if (objectsIn(property).length) box.append(shape(property, [...seen, schema]));
    }
  }
  return box;
}

function example(node, depth) {
  const schema = resolved(node);
  if (schema.default !== undefined) return schema.default;
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  const several = schema.anyOf || schema.oneOf;
  if (several) return example(several[0], depth);
  if (schema.properties) {
    if (depth > 4) return {};
    const needed = schema.required && schema.required.length ? schema.required : Object.keys(schema.properties);
    return Object.fromEntries(needed.map((name) => [name, example(schema.properties[name], depth + 1)]));
  }
  const plain = { array: [], object: {}, integer: schema.minimum || 0, number: schema.minimum || 0, boolean: false, null: null };
  return schema.type in plain ? plain[schema.type] : "";
}

// Operations

function operationBox(path, method, operation) {
  const summary = element("summary", {},
    element("span", { class: "method " + method }, method.toUpperCase()),
    element("span", { class: "path" }, path),
    element("span", { class: "summary" }, operation.summary || ""));
  const box = element("details", { class: "operation", id: operation.operationId }, summary);
  box.dataset.words = [path, method, operation.summary, operation.description, ...(operation.tags || [])].join(" ").toLowerCase();
  box.addEventListener("toggle", () => { if (box.open && box.children.length === 1) box.append(inside(path, method, operation)); });
  return box;
}

function inside(path, method, operation) {
  const parameters = (operation.parameters || []).map(resolved);
  const body = resolved(operation.requestBody);
  const box = element("div", {}, element("p", {}, operation.description || ""));
  if (parameters.length) {
    box.append(element("h3", {}, "Parameters"), element("table", {}, ...parameters.map((each) =>
      element("tr", {}, element("td", {}, element("code", {}, each.name), " ", element("span", { class: "note" }, "in " + each.in)),
        element("td", { class: "type" }, typeOf(each.schema) + (each.required ? " required" : "")),
        element("td", { class: "note" }, [bounds(each.schema), each.description].filter(Boolean).join(". "))))));
  }
  for (const [kind, content] of Object.entries(body.content || {})) {
    box.append(element("h3", {}, "Body, " + kind + ": " + typeOf(content.schema)), shape(content.schema, []));
  }
  box.append(element("h3", {}, "Answers"), answersTable(operation.responses || {}));
  box.append(element("h3", {}, "Try it"), trial(path, method, parameters, body));
  return box;
}

function answersTable(responses) {
  return element("table", {}, ...Object.entries(responses).map(([status, given]) => {
    const response = resolved(given);
    const cell = element("td", {}, response.description || "");
    for (const [kind, content] of Object.entries(response.content || {})) {
      cell.append(element("div", { class: "type" }, kind + (content.schema ? ": " + typeOf(content.schema) : "")));
      if (content.schema && !given.$ref) cell.append(shape(content.schema, []));
    }
    return element("tr", {}, element("td", {}, element("code", {}, status)), cell);
  }));
}

// Trying

function trial(path, method, parameters, body) {
  const form = element("form", {});
  const fields = element("div", { class: "try" });
  const inputs = parameters.map((parameter) => {
    const input = element("input", { "aria-label": parameter.name, autocomplete: "off" });
    fields.append(element("label", {}, parameter.name, input));
    return [parameter, input];
  });
  form.append(fields);
  const content = (body.content || {})["application/json"];
  let text = null;
  if (content) {
    text = element("textarea", { "aria-label": "body", spellcheck: "false" });
    text.value = JSON.stringify(example(content.schema, 0), null, 2);
    form.append(text);
  }
  const answer = element("pre", { hidden: "" });
  form.append(element("button", { type: "submit" }, "Send"), answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    answer.hidden = false;
    answer.textContent = "…";
    try {
      answer.textContent = await send(path, method, inputs, text);
    } catch (error) {
      answer.textContent = "There was no answer: " + error.message;
    }
  });
  return form;
}

async function send(path, method, inputs, text) {
  let target = path;
  const query = new URLSearchParams();
  const headers = {};
  for (const [parameter, input] of inputs) {
    if (parameter.in === "path") target = target.replace("{" + parameter.name + "}", encodeURIComponent(input.value));
    else if (input.value === "") continue;
    else if (parameter.in === "header") headers[parameter.name] = input.value;
    else query.append(parameter.name, input.value);
  }
  const key = document.getElementById("key").value.trim();
  if (key) headers.Authorization = "Bearer " + key;
  if (text) headers["Content-Type"] = "application/json";
  const began = performance.now();
  const response = await fetch(target + (query.size ? "?" + query : ""), { method: method.toUpperCase(), headers, body: text ? text.value : undefined });
  const told = await shown(response);
  const lines = [response.status + " " + response.statusText + ", " + Math.round(performance.now() - began) + " ms"];
  for (const [name, value] of response.headers) lines.push(name + ": " + value);
  return lines.join("\n") + "\n\n" + told;
}

async function shown(response) {
  const kind = response.headers.get("Content-Type") || "";
  if (kind.includes("json")) return JSON.stringify(await response.json(), null, 2);
  if (kind.startsWith("text/event-stream")) { await response.body.cancel(); return "(a stream: it goes on for as long as one listens)"; }
  if (kind.startsWith("text/")) return response.text();
  return "(" + (await response.blob()).size + " bytes of " + (kind || "nothing") + ")";
}

// The page

function show() {
  const groups = new Map();
  for (const [path, operations] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const tag = (operation.tags || ["others"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operationBox(path, method, operation));
    }
  }
  document.getElementById("title").append(" ", element("small", {}, description.info.version));
  document.getElementById("description").textContent = description.info.description || "";
  document.getElementById("operations").replaceChildren(...[...groups].sort().map(([tag, boxes]) =>
    element("section", {}, element("h2", {}, tag.replace(/_/g, " ")), ...boxes)));
  openNamed();
}

function openNamed() {
  const named = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named) { named.open = true; named.scrollIntoView(); }
}

function find(words) {
  for (const section of document.querySelectorAll("#operations section")) {
    let any = false;
    for (const box of section.querySelectorAll("details")) {
      box.hidden = !words.every((word) => box.dataset.words.includes(word));
      any = any || !box.hidden;
    }
    section.hidden = !any;
  }
}

async function begin() {
  document.getElementById("find").addEventListener("input", (event) => find(event.target.value.toLowerCase().split(/\s+/).filter(Boolean)));
  addEventListener("hashchange", openNamed);
  try {
    description = await (await fetch("/openapi.json")).json();
  } catch (error) {
    document.getElementById("operations").textContent = "The description cannot be read: " + error.message;
    return;
  }
  show();
}

begin();
