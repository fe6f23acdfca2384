import { assert } from "@std/assert";
import { Listening } from "./listen.ts";
import { toolPath } from "./spawn.ts";

const never = new AbortController().signal;

Deno.test("Listening hears what is said, and waits no longer than it should", async () => {
  await using listening = new Listening(toolPath("sh"), ["-c", "echo one; read -r _"]);
  await listening.heard(60_000, never);
  await listening.heard(1, never);
  const calling = new AbortController();
  const waiting = listening.heard(60_000, calling.signal);
  calling.abort();
  await waiting;
});

Deno.test("Listening ends a program by its stdin", async () => {
  const path = await Deno.makeTempFile();
  const script = `read -r _; echo over >${path}`;
  await new Listening(toolPath("sh"), ["-c", script])[Symbol.asyncDispose]();
  assert(Deno.readTextFileSync(path) === "over\n");
  Deno.removeSync(path);
});
