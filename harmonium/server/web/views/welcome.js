// The first screen: questions to begin with, each of which nano, the embedded model, answers.

import { byId, el } from "../dom.js";
import { EXAMPLE } from "../tools.js";

const EXAMPLES = [
  { topic: "Count letters", text: "How many r's are in the word 'strawberry'?" },
  { topic: "Reckon", text: "What is 348 + 597?" },
  { topic: "Call a function", text: "What is the weather like in Madrid?", options: { tools: EXAMPLE } },
  {
    topic: "Reason in German",
    text: "What is the capital of Spain?",
    options: { instructions: "Reasoning language: German" },
  },
  { topic: "In Japanese", text: "フランスの首都は何ですか?" },
  { topic: "Who is this", text: "Who are you?" },
];

export function showWelcome({ session, composer }) {
  const buttons = EXAMPLES.map(({ topic, text, options }) => {
    const start = () => {
      if (options) session.setOptions(options, { isForNext: false });
      composer.ask(text);
    };
    return el(
      "button",
      { type: "button", class: "example", on: { click: start } },
      el("span", { class: "example-topic" }, topic),
      el("span", { dir: "auto" }, text),
    );
  });
  byId("examples").replaceChildren(...buttons);
}
