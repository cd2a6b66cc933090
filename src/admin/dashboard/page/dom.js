// Elements and their text. Text from clients and policies is set with textContent, so that it never becomes markup.

const SVG = "http://www.w3.org/2000/svg";

export const isCalm = matchMedia("(prefers-reduced-motion: reduce)");

export const find = (id) => document.getElementById(id);

export function make(tag, attributes, ...children) {
  const made = document.createElement(tag);
  return fill(made, attributes, children);
}

export function draw(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// Writes text only if it changes, so that a selection stays.
export function setText(at, text) {
  const element = typeof at === "string" ? find(at) : at;
  if (element.textContent !== text) element.textContent = text;
}

export function setState(id, state, text) {
  setText(id, text);
  find(id).dataset.state = state;
}
