import { assertEquals, assertThrows } from "@std/assert";
import { print } from "./print.ts";

Deno.test("print() writes on until all is written", () => {
  const written: number[] = [];
  print({ writeSync: (data) => written.push(data[0]!) && 1 }, "abc");
  assertEquals(String.fromCharCode(...written), "abc");
});

Deno.test("print() survives a reader that has gone away, and no other failure", () => {
  const failing = (error: Error) => ({
    writeSync(): number {
      throw error;
    },
  });
  print(failing(new Deno.errors.BrokenPipe()), "a");
  assertThrows(() => print(failing(new Deno.errors.BadResource()), "a"), Deno.errors.BadResource);
});
