// The AI SDK for JavaScript, with its provider for OpenAI-compatible servers.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, Output, streamText, tool } from "ai";
import { z } from "zod";

const { SERVER_URL, SERVER_KEY, SERVER_MODEL, QUESTION } = process.env;
const provider = createOpenAICompatible({
  name: "pair",
  baseURL: SERVER_URL,
  apiKey: SERVER_KEY,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const model = provider(SERVER_MODEL);
const choice = z.object({ colour: z.enum(["red", "blue"]) });
const choose = tool({ description: "Choose a colour.", inputSchema: choice });
const asked = { model, prompt: QUESTION, maxRetries: 0 };
const short = { ...asked, maxOutputTokens: 200 };

const answer = await generateText(asked);
const streamed = streamText(asked);
const pieces = [];
for await (const piece of streamed.textStream) pieces.push(piece);
const called = await generateText({ ...short, tools: { choose }, toolChoice: "required" });
const chosen = await generateText({ ...short, output: Output.object({ schema: choice }) });

const chat = {
  answer: answer.text,
  thought: answer.reasoningText,
  pieces,
  final: await streamed.text,
  called: called.toolCalls[0].input,
  chosen: chosen.output.colour,
};
console.log(JSON.stringify({ chat, tokens: (await streamed.usage).outputTokens }));
