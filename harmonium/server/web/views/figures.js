// Numbers in words: durations, token counts, speed.

const NUMBER = new Intl.NumberFormat("en");

export function count(number, unit) {
  return `${NUMBER.format(number)} ${unit}${number === 1 ? "" : "s"}`;
}

export function duration(seconds) {
  if (seconds < 1) return `${Math.max(0.1, Math.round(seconds * 10) / 10)} s`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** "412 tok/s · 93 tokens, 51 reasoning · prompt 120, 80 cached · 0.4 s" */
export function figuresText({ speed, completion, reasoning, prompt, cached, isCounted, seconds }) {
  const about = isCounted ? "about " : "";
  const parts = [
    `${about}${NUMBER.format(speed < 10 ? Math.round(speed * 10) / 10 : Math.round(speed))} tok/s`,
    about + count(completion, "token") + (reasoning ? `, ${NUMBER.format(reasoning)} reasoning` : ""),
    `prompt ${NUMBER.format(prompt)}${cached ? `, ${NUMBER.format(cached)} cached` : ""}`,
    duration(seconds),
  ];
  return parts.join(" · ");
}
