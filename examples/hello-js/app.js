// Answers a POST with its text in reverse, and every other request with its path.

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  if (request.method === "POST") {
    const text = await request.text();
    return new Response(`${[...text].reverse().join("")}\n`);
  }
  const { pathname } = new URL(request.url);
  return new Response(`Hello from JavaScript! You asked for ${pathname}\n`);
}
