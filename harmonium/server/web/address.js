// The page's address: the open conversation's id stands in it, so that reloading and going back lead where one was.

export function connectAddress(session) {
  const named = () => location.hash.slice(1);
  const name = () => {
    const { id, turns } = session.current;
    const wanted = turns.length ? id : "";
    if (wanted === named()) return;
    // A conversation is named with its first turn; that is no step to go back from.
    const isSame = named() === "" && session.current.turns.length === 1;
    history[isSame ? "replaceState" : "pushState"](null, "", wanted ? `#${wanted}` : location.pathname);
  };
  const open = () => {
    if (named() && named() !== session.current.id) session.open(named());
    else if (!named() && session.current.turns.length) session.startNew();
    if (named() && named() !== session.current.id) history.replaceState(null, "", location.pathname); // it is gone
  };
  open();
  name();
  session.addEventListener("open", name);
  window.addEventListener("popstate", open);
}
