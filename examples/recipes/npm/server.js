// Stands for vite, next and the others. `PORT` decides, and nothing else: a server that falls back to
// another port is a server that nobody finds.
const port = Number(process.env.PORT);
if (!port) throw new Error("PORT is not set");
require("node:http")
  .createServer((request, response) => response.end("shop\n"))
  .listen(port, "localhost", () => console.log(`http://localhost:${port}`));
