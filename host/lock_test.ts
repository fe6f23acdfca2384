import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { ActionError } from "./error.ts";
import { formatAge, lockExisting, lockFile, parseHolder } from "./lock.ts";

const options = { mode: 0o750, deadline: 10_000 };

async function withFile(test: (path: string) => Promise<void>): Promise<void> {
  const dir = Deno.makeTempDirSync();
  try {
    await test(`${dir}/lock`);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

async function lock(path: string, deadline = 10_000): Promise<Deno.FsFile> {
  const locking = await lockFile(path, { ...options, deadline });
  assert(locking.is === "locked");
  return locking.file;
}

Deno.test("a lock makes its file with the mode of the reference", async () => {
  await withFile(async (path) => {
    using _ = await lock(path);
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o750 & ~Deno.umask());
  });
});

Deno.test("a lock is waited for, and got when it is given back", async () => {
  await withFile(async (path) => {
    const first = await lock(path);
    const second = lock(path);
    first.close();
    (await second).close();
  });
});

Deno.test("a holder is named when the deadline is over, and its wait leaves no lock behind", async () => {
  await withFile(async (path) => {
    const first = await lock(path);
    const locking = await lockFile(path, { ...options, deadline: 50 });
    assert(locking.is === "held");
    assertMatch(locking.by, new RegExp(`^process ${Deno.pid} \\(.*deno.*, started .* ago\\)$`));
    first.close();
    (await lock(path)).close();
  });
});

Deno.test("a lock of a missing directory is an error that says so", async () => {
  const error = await assertRejects(() => lockFile("/nonexistent/lock", options));
  assert(error instanceof ActionError);
  assertEquals(error.reason, "missing");
});

Deno.test("the holder is found among waiters, other kinds and other files", () => {
  const locks = [
    "1: POSIX  ADVISORY  WRITE 11 08:01:77 0 EOF",
    "2: FLOCK  ADVISORY  WRITE 12 08:02:77 0 EOF",
    "2: -> FLOCK  ADVISORY  WRITE 13 08:01:77 0 EOF",
    "3: FLOCK  ADVISORY  WRITE 14 08:01:77 0 EOF",
    "4: FLOCK  ADVISORY  WRITE 15 08:01:78 0 EOF",
    "",
  ].join("\n");
  assertEquals(parseHolder(locks, { dev: 0x801, ino: 77 }), 14);
  assertEquals(parseHolder(locks, { dev: 0x809, ino: 78 }), 15);
  assertEquals(parseHolder(locks, { dev: 0x801, ino: 79 }), undefined);
  assertEquals(
    parseHolder("1: FLOCK  ADVISORY  WRITE -1 08:01:77 0 EOF\n", { dev: 0x801, ino: 77 }),
    undefined,
  );
});

Deno.test("an age is told in its largest unit", () => {
  const ages = [350, 12_345, 5 * 60_000, 3 * 3_600_000 + 1, 50 * 3_600_000];
  assertEquals(ages.map(formatAge), ["350 ms", "12 s", "5 min", "3 h", "2 d"]);
});

Deno.test("lockExisting() locks what is there, and makes nothing", async () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/lock`;
  assertEquals(await lockExisting(path, options), undefined);
  assertEquals([...Deno.readDirSync(dir)], []);
  const first = await lockFile(path, options);
  assert(first.is === "locked");
  const second = await lockExisting(path, { deadline: 1 });
  assert(second?.is === "held");
  assertMatch(second.by, /^process \d+ /);
  first.file.close();
  Deno.removeSync(dir, { recursive: true });
});

Deno.test("lockExisting() locks a namespace's file", async () => {
  const locking = await lockExisting("/proc/self/ns/net", options);
  assert(locking?.is === "locked");
  using _ = locking.file;
});
