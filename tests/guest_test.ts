/**
 * Guest kernels: a command's outcome comes back, this machine stays as it is, and a guest ends
 * with whoever started it.
 *
 * @module
 */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { GuestOptions } from "../scripts/guest/boot.ts";
import { runInGuest } from "../scripts/guest/boot.ts";
import type { GuestKernel } from "../scripts/guest/kernel.ts";
import { guestKernel } from "../scripts/guest/kernel.ts";
import { testWith } from "./harness/need.ts";
import { Child, execute } from "./harness/process.ts";

const boot = new URL("../scripts/guest/boot.ts", import.meta.url).pathname;
const task = [Deno.execPath(), "run", "-A", "--no-check", boot];

function guestTest(name: string, body: (dir: string) => Promise<void>): void {
  testWith(name, ["private", "guest"], async () => {
    const dir = await Deno.makeTempDir({ prefix: "denocni-guest-test-" });
    try {
      await body(dir);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}

guestTest("guest: status and streams come back, and what is written does not", async (dir) => {
  const script = `echo said; echo complained >&2; cat "$0/here"; echo there >"$0/there"
uname -r; ip link add x0 type dummy && exit 7`;
  await Deno.writeTextFile(`${dir}/here`, "read\n");
  const done = await execute([...task, "sh", "-c", script, dir], { deadline: 600_000 });
  assertEquals([done.code, done.stderr], [7, "complained\n"]);
  assertMatch(done.stdout, /^said\nread\n\d\S+-cloud-\w+\n$/);
  assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["here"]);
});

guestTest("guest: ends with the task that has started it, however that ends", async (dir) => {
  const env = { ...Deno.env.toObject(), TMPDIR: dir };
  await using child = new Child([...task, "sh", "-c", "echo begun; sleep 1000"], { env });
  assertEquals(await child.line(), "begun");
  const [emulator = 0] = childrenOf(child.pid);
  const all = [emulator, ...childrenOf(emulator)];
  assertEquals(all.map(nameOf), [nameOf(emulator), "virtiofsd"]);
  assertMatch(nameOf(emulator)!, /^qemu-system/);
  child.kill("SIGKILL");
  await child.status;
  // Only a parent is told of an end, and the parent is gone: so this asks again and again.
  while (all.some((pid) => nameOf(pid) !== undefined)) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
});

function childrenOf(pid: number): number[] {
  const text = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`);
  return text.split(" ").filter(Boolean).map(Number);
}

/** What a process is called; `undefined` for one that has ended, even if nobody has asked how. */
function nameOf(pid: number): string | undefined {
  try {
    const [, name, state] = /\((.*)\) (.)/.exec(Deno.readTextFileSync(`/proc/${pid}/stat`))!;
    return state === "Z" ? undefined : name;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** How a guest fails. */
interface Failure {
  readonly options?: Partial<GuestOptions>;
  readonly kernel?: (kernel: GuestKernel) => Partial<GuestKernel>;
  readonly message: RegExp;
}

const failures: Readonly<Record<string, Failure>> = {
  "is ended when it says nothing": {
    options: { silence: 3 },
    message: /^Cannot .*: it has said nothing for 3 s\n/,
  },
  "is ended when it takes too long": {
    options: { limit: 3 },
    message: /^Cannot .*: it has not ended within 3 s\n/,
  },
  "that cannot boot says what to do": {
    kernel: ({ initrd }) => ({ image: initrd }),
    message:
      /^Cannot boot a guest: it has ended early\nTo see .*: deno task guest true\n.*\nThe end of its console:\n.*\S/,
  },
};

for (const [title, { options, kernel: change, message }] of Object.entries(failures)) {
  guestTest(`guest: one ${title}`, async (dir) => {
    const kernel = await guestKernel();
    const broken = { ...kernel, ...change?.(kernel) };
    const command = ["sleep", "1000"];
    const run = () => runInGuest(command, { share: dir, kernel: broken, ...options });
    assertMatch((await assertRejects(run, Error)).message, message);
  });
}
