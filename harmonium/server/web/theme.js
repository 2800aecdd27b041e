// Sets the chosen theme before the page is drawn; loaded as a plain script, for modules come too late for that.

(() => {
  let theme = "system";
  try {
    theme = JSON.parse(localStorage.getItem("harmonium.settings") ?? "{}")?.theme;
  } catch {
    // No storage, no choice: the system's theme.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
