// A program for OpenAI's image API with its official Node client, as its documentation writes it.
import OpenAI from "openai";

const client = new OpenAI();
const made = await client.images.generate({
  model: "gpt-image-1", prompt: "a large black lesion", n: 2, size: "1024x1024", quality: "high", background: "opaque",
});
const images = made.data.map((image) => image.b64_json);
const linked = await client.images.generate({ model: "dall-e-3", prompt: "a small red lesion", style: "natural" });
const answer = await fetch(linked.data[0].url);
images.push(Buffer.from(await answer.arrayBuffer()).toString("base64"));
const stream = await client.images.generate({
  model: "gpt-image-1", prompt: "a brown lesion", stream: true, partial_images: 2,
});
const kinds = [];
for await (const event of stream) {
  kinds.push(event.type);
  if (event.type === "image_generation.completed") images.push(event.b64_json);
}
const models = [];
for await (const model of client.models.list()) models.push(model.id);
console.log(JSON.stringify({ images, kinds, models }));
