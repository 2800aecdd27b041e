// The functions a conversation offers to the model: JSON as people write it, checked and made the API's.

/** An example to begin with; nano, the embedded model, knows how to call it. */
export const EXAMPLE = [
  {
    type: "function",
    name: "get_current_weather",
    description: "Get the current weather in a city.",
    parameters: {
      type: "object",
      properties: { city: { type: "string", description: "The city's name, such as Madrid." } },
      required: ["city"],
    },
  },
];

/** Function tools from JSON text, in either API's form, one or a list; throws with what is wrong. "" is none. */
export function parseTools(text) {
  if (!text.trim()) return [];
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`This is not JSON: ${error.message}`);
  }
  const tools = (Array.isArray(value) ? value : [value]).map(readTool);
  const names = tools.map((tool) => tool.name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice) throw new Error(`Two functions are named ${twice}.`);
  return tools;
}

function readTool(value, index) {
  const which = `Function ${index + 1}`;
  if (!isObject(value)) throw new Error(`${which} is no JSON object.`);
  if ((value.type ?? "function") !== "function")
    throw new Error(`${which}: only tools of type "function" are offered here.`);
  const tool = isObject(value.function) ? value.function : value;
  if (typeof tool.name !== "string" || !/^[\w-]{1,64}$/.test(tool.name)) {
    throw new Error(`${which} needs a "name" of letters, digits, _ and -.`);
  }
  if (tool.parameters !== undefined && !isObject(tool.parameters)) {
    throw new Error(`${which}, ${tool.name}: "parameters" has to be a JSON Schema object.`);
  }
  return { ...tool, type: "function" };
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
