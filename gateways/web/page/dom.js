// A tree of what should be there, and `morph`, which changes what is there into it: so that focus, selection and
// scrolling stay where they are while everything is drawn anew once a second.

const SVG = "http://www.w3.org/2000/svg";

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

export const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => build(document.createElementNS(SVG, tag), attributes, children);

function same(one, other) {
  if (one.nodeType !== other.nodeType || one.nodeName !== other.nodeName) return false;
  return one.nodeType !== Node.ELEMENT_NODE || one.getAttribute("data-key") === other.getAttribute("data-key");
}

function update(there, wanted) {
  if (there.nodeType === Node.ELEMENT_NODE && wanted.hasAttribute("data-keep")) return; // somebody else draws that
  if (there.nodeType === Node.TEXT_NODE) {
    if (there.data !== wanted.data) there.data = wanted.data;
    return;
  }
  for (const { name } of [...there.attributes]) {
    if (!wanted.hasAttribute(name)) there.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (there.getAttribute(name) !== value) there.setAttribute(name, value);
  }
  children(there, [...wanted.childNodes]);
}

function children(parent, wanted) {
  let at = parent.firstChild;
  for (const node of wanted) {
    if (at !== null && !same(at, node)) {
      // What is wanted here may stand further on, if something before it has gone.
      let later = at.nextSibling;
      while (later !== null && !same(later, node)) later = later.nextSibling;
      if (later !== null && node.getAttribute?.("data-key")) {
        while (at !== later) {
          const gone = at;
          at = at.nextSibling;
          gone.remove();
        }
      }
    }
    if (at !== null && same(at, node)) {
      update(at, node);
      at = at.nextSibling;
    } else {
      parent.insertBefore(node, at);
    }
  }
  while (at !== null) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

export function morph(parent, ...wanted) {
  const nodes = wanted.flat(Infinity).filter((node) => node !== null && node !== undefined && node !== false);
  children(parent, nodes.map((node) => (node instanceof Node ? node : document.createTextNode(String(node)))));
}

// The same for one element, which another one is to be.
export function become(there, wanted) {
  wanted.removeAttribute("data-keep");
  update(there, wanted);
  there.setAttribute("data-keep", "");
}
