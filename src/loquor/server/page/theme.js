/* Light, dark, or as the device has it. */

import { changes, t } from "./strings.js";

const MODES = ["auto", "light", "dark"];
const KEPT = "loquor-theme";

/** Let a button go through the modes; `label` says which it is. */
export function setUpTheme(button, label) {
  let mode = MODES.includes(localStorage.getItem(KEPT)) ? localStorage.getItem(KEPT) : "auto";
  const show = () => {
    document.documentElement.dataset.theme = mode;
    label.textContent = button.title = t(`theme_${mode}`);
  };
  button.addEventListener("click", () => {
    mode = MODES[(MODES.indexOf(mode) + 1) % MODES.length];
    localStorage.setItem(KEPT, mode);
    show();
  });
  changes.addEventListener("change", show);
  show();
}
