/* What a checker of accessibility would find: each gives descriptions of what is wrong, none if all is well. */

const seen = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !element.closest("[aria-hidden=true]");
const describe = (element) => element.outerHTML.slice(0, 120);

/** Controls without a name. */
window.unnamed = () => {
  const name = (element) =>
    element.ariaLabel || [...(element.labels ?? [])].map((label) => label.textContent).join(" ").trim() || element.textContent.trim();
  const byContent = (element) => /^(INPUT|SELECT|TEXTAREA|METER)$/.test(element.tagName);
  return [...document.querySelectorAll("button, input, select, textarea, meter, a, summary, dialog[open]")]
    .filter((element) => element.checkVisibility())
    .filter((element) => !(byContent(element) ? element.ariaLabel || element.labels?.length && name(element) : name(element)))
    .map(describe);
};

window.isDark = () => getComputedStyle(document.body).backgroundColor.match(/\d+/g).every((part) => part < 60);

/** Texts with a contrast below that of WCAG 2.2 AA. */
window.faint = () => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parts = (color) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = color;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const backdrop = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = parts(getComputedStyle(each).backgroundColor);
      if (color[3] === 255) return color;
    }
    return parts("white");
  };
  const light = ([red, green, blue]) => {
    const linear = [red, green, blue].map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const texts = [...document.querySelectorAll("body *")].filter(
    (element) => !element.closest("svg, :disabled") && seen(element) && ([...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) || element.value),
  );
  const { length } = texts;
  if (length < 10) return [`only ${length} texts were looked at`];
  return texts
    .map((element) => [contrast(parts(getComputedStyle(element).color), backdrop(element)), element])
    .filter(([ratio]) => ratio < 4.5)
    .map(([ratio, element]) => `${ratio.toFixed(2)} ${describe(element)}`);
};

/** What confuses a screen reader: ids given twice, headings out of order, a tab order of its own, no live region. */
window.crooked = () => {
  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
  const levels = [...document.querySelectorAll("h1, h2, h3")].map(({ tagName }) => Number(tagName[1]));
  return [
    ...ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => `id ${id} twice`),
    ...levels.filter((level, at) => level > (levels[at - 1] ?? 0) + 1).map((level) => `heading ${level} skips one`),
    ...[...document.querySelectorAll("[tabindex]")].filter(({ tabIndex }) => tabIndex > 0).map(describe),
    ...(document.querySelectorAll("[role=status]").length === 1 ? [] : ["not one status"]),
    ...(document.querySelectorAll("h1").length === 1 ? [] : ["not one h1"]),
  ];
};

/** What a finger would miss: less than 24 pixels either way (WCAG 2.2, 2.5.8). */
window.tiny = () =>
  [...document.querySelectorAll("button, select, summary, input:not([type=checkbox], [type=radio], [type=file]), .check, .modes span")]
    .filter(seen)
    .filter((element) => Math.min(element.getBoundingClientRect().width, element.getBoundingClientRect().height) < 24)
    .map(describe);
