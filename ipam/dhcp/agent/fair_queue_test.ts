import { assertEquals, assertRejects } from "@std/assert";
import { FairQueue } from "./fair_queue.ts";

const never = new AbortController().signal;

/** A task that ends when it is told to. */
function task(log: string[], name: string) {
  const { promise, resolve } = Promise.withResolvers<string>();
  return {
    end: () => resolve(name),
    run: () => {
      log.push(name);
      return promise;
    },
  };
}

Deno.test("tasks beyond the limit wait, and follow in order", async () => {
  const turns = new FairQueue(2);
  const log: string[] = [];
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => task(log, name));
  const all = [a!, b!, c!, d!].map(({ run }) => turns.run({ signal: never }, run));
  assertEquals(turns.size, 4);
  await Promise.resolve();
  assertEquals(log, ["a", "b"]);
  b!.end();
  assertEquals(await all[1], "b");
  assertEquals(log, ["a", "b", "c"]);
  a!.end();
  c!.end();
  d!.end();
  assertEquals(await Promise.all(all), ["a", "b", "c", "d"]);
  assertEquals(turns.size, 0);
});

Deno.test("a task that fails before it gives a promise gives its place away", async () => {
  const turns = new FairQueue(1);
  const full = () => {
    throw new Error("no space");
  };
  await assertRejects(() => turns.run({ signal: never }, full), Error, "no space");
  assertEquals(turns.size, 0);
  assertEquals(await turns.run({ signal: never }, () => Promise.resolve("next")), "next");
});

Deno.test("a task that failed gives its place away", async () => {
  const turns = new FairQueue(1);
  const failing = turns.run({ signal: never }, () => Promise.reject(new Error("no")));
  const next = turns.run({ signal: never }, () => Promise.resolve("next"));
  await assertRejects(() => failing, Error, "no");
  assertEquals(await next, "next");
});

Deno.test("who gives up waiting does not run, and keeps nobody waiting", async () => {
  const turns = new FairQueue(1);
  const log: string[] = [];
  const [a, b, c] = ["a", "b", "c"].map((name) => task(log, name));
  const first = turns.run({ signal: never }, a!.run);
  const leaving = new AbortController();
  const second = turns.run({ signal: leaving.signal }, b!.run);
  const third = turns.run({ signal: never }, c!.run);
  leaving.abort();
  assertEquals(await second, undefined);
  a!.end();
  c!.end();
  assertEquals(await Promise.all([first, third]), ["a", "c"]);
  assertEquals(log, ["a", "c"]);
  assertEquals(turns.size, 0);
});

Deno.test("who has given up before does not wait", async () => {
  const turns = new FairQueue(1);
  assertEquals(
    await turns.run({ signal: AbortSignal.abort() }, () => Promise.resolve(1)),
    undefined,
  );
  assertEquals(turns.size, 0);
});

Deno.test("an abort after the turn has come takes no place twice", async () => {
  const turns = new FairQueue(1);
  const leaving = new AbortController();
  const a = task([], "a");
  const b = task([], "b");
  const first = turns.run({ signal: never }, a.run);
  const second = turns.run({ signal: leaving.signal }, b.run);
  a.end();
  await first;
  leaving.abort();
  b.end();
  assertEquals(await second, "b");
  assertEquals(turns.size, 0);
  assertEquals(await turns.run({ signal: never }, () => Promise.resolve("c")), "c");
});

Deno.test("lanes go in turns, however many wait in one of them", async () => {
  const turns = new FairQueue(1);
  const log: string[] = [];
  const leaving = new AbortController();
  const entered = (lane: string, name: string, signal = never) =>
    turns.run({ signal, lane }, () => Promise.resolve(void log.push(name)));
  const names = ["a1", "a2", "a3", "a4", "b1", "b2", "c1"];
  const all = names.map((name) => entered(name[0]!, name));
  const gone = entered("b", "gone", leaving.signal);
  assertEquals(turns.size, 8);
  leaving.abort();
  assertEquals(turns.size, 7);
  await Promise.all([...all, gone]);
  assertEquals(log, ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]);
  assertEquals(turns.size, 0);
});
