(() => {
// For the tests of the page: what is hard to read on it, and what does not fit.

const known = new Map();

function channels(colour) {
  if (!known.has(colour)) known.set(colour, painted(colour));
  return known.get(colour);
}

function painted(colour) {
  const canvas = (window.__canvas ??= document.createElement("canvas").getContext("2d", { willReadFrequently: true }));
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}

const over = (top, below) => top.slice(0, 3).map((value, index) => value * top[3] + below[index] * (1 - top[3]));

function luminance(colour) {
  const [r, g, b] = colour.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function ratio(one, other) {
  const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

// What an element stands on: the backgrounds of all that it is inside of.
function ground(element) {
  const layers = [];
  for (let at = element; at !== null; at = at.parentElement) layers.push(channels(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((below, layer) => over(layer, below), channels("Canvas").slice(0, 3));
}

function grey(colour, element) {
  for (let at = element; at !== null; at = at.parentElement) {
    if (getComputedStyle(at).filter.includes("grayscale")) {
      const value = 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2];
      return [value, value, value];
    }
  }
  return colour;
}

function faint(element) {
  let opacity = 1;
  for (let at = element; at !== null; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
  return opacity;
}

// Every text of the page with its contrast: {count, low: [{text, ratio}]}.
window.hardToRead = (least) => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const low = [];
  let count = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.parentElement;
    if (!node.data.trim() || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName)) continue;
    if (!element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) || element.closest(".hidden")) continue;
    const style = getComputedStyle(element);
    const svg = element instanceof SVGElement;
    const below = ground(element);
    const ink = channels(svg ? style.fill : style.color);
    ink[3] *= faint(element);
    const found = ratio(grey(over(ink, below), element), grey(below, element));
    count += 1;
    if (found < least) low.push({ text: node.data.trim().slice(0, 40), of: element.className?.baseVal ?? element.className, ratio: found.toFixed(2) });
  }
  return { count, low };
};

// Elements that stick out of the window to the right.
window.sticksOut = () =>
  [...document.querySelectorAll("body *")]
    .filter((element) => !element.closest(".hidden, .skip, thead") && element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
    .map((element) => `${element.tagName}.${element.className?.baseVal ?? element.className}`);
})();
