import { assert, assertEquals, assertRejects } from "@std/assert";
import { command } from "../host/command.ts";
import { ActionError } from "../host/error.ts";
import { hasTool } from "../host/spawn.ts";
import type { Action, Step } from "../host/step.ts";
import { sysctl } from "../host/step.ts";
import { DryRun, Machine } from "./machine.ts";

/** A folder of the test's own. */
async function inTempDir(
  body: (dir: string) => Promise<void> | void,
): Promise<void> {
  const dir = Deno.makeTempDirSync();
  try {
    await body(dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

function write(path: string, rest: Partial<Step> = {}): Step {
  return {
    why: `write "${path}"`,
    do: { kind: "write", path, text: "text", exclusive: true },
    undo: { kind: "remove", path },
    ...rest,
  };
}

function shell(text: string): Action {
  return command("sh", ["-c", text]);
}

function names(dir: string): string[] {
  return [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
}

Deno.test("Machine.apply() carries steps out in order", () =>
  inTempDir(async (dir) => {
    const log = `${dir}/log`;
    await new Machine().apply([1, 2, 3].map((n) => ({
      why: `say ${n}`,
      do: shell(`echo ${n} >>'${log}'`),
    })));
    assertEquals(Deno.readTextFileSync(log), "1\n2\n3\n");
  }));

Deno.test("Machine.apply() gives what the steps printed", async () => {
  const printed = await new Machine().apply([
    { why: "say a", do: shell("echo a") },
    { why: "say b", do: shell("echo b") },
  ]);
  assertEquals(printed, "a\nb\n");
});

Deno.test("Machine.apply() stops at a step that fails, with its reason", () =>
  inTempDir(async (dir) => {
    const machine = new Machine();
    const error = await assertRejects(
      () =>
        machine.apply([
          write(`${dir}/a`),
          { why: 'link "x"', do: shell("echo 'File exists' >&2; exit 3") },
          write(`${dir}/b`),
        ]),
      Error,
      'Cannot link "x": File exists',
    );
    assert(error instanceof ActionError);
    assertEquals(error.reason, "exists");
    assert(error.details.includes("exit status 3"));
    assertEquals(names(dir), ["a"]);
  }));

Deno.test("Machine.apply() goes on after a tolerated failure", () =>
  inTempDir(async (dir) => {
    await new Machine().apply([
      {
        why: "remove it",
        do: shell("echo 'Cannot find device \"x\"' >&2; exit 1"),
        tolerate: ["missing"],
      },
      write(`${dir}/a`),
    ]);
    assertEquals(names(dir), ["a"]);
  }));

Deno.test("Machine.apply() does not tolerate another reason", async () => {
  await assertRejects(
    () =>
      new Machine().apply([{
        why: "remove it",
        do: shell("echo 'Operation not permitted' >&2; exit 1"),
        tolerate: ["missing", "exists"],
      }]),
    Error,
    "Operation not permitted",
  );
});

Deno.test({
  name: "Machine.apply() resumes behind a tolerated line of a batch",
  ignore: !hasTool("ip"),
  async fn() {
    const show = (name: string, rest: Partial<Step> = {}): Step => ({
      why: `look at "${name}"`,
      do: command("ip", ["link", "show", "dev", name]),
      ...rest,
    });
    const missing = show("no-such-link0", { tolerate: ["missing"] });
    const printed = await new Machine().apply([
      show("lo"),
      missing,
      show("lo"),
      missing,
    ]);
    assertEquals(printed.match(/"ifname": ?"lo"/g)?.length, 2);
    await assertRejects(
      () => new Machine().apply([show("lo"), missing, show("no-such-link1")]),
      Error,
      'Cannot look at "no-such-link1"',
    );
  },
});

Deno.test("Machine.rollback() undoes last first, each once", () =>
  inTempDir(async (dir) => {
    const log = `${dir}/log`;
    const machine = new Machine();
    await machine.apply([1, 2].map((n) => ({
      why: `do ${n}`,
      do: shell(":"),
      undo: shell(`echo ${n} >>'${log}'`),
    })));
    machine.onRollback("do 3", () => {
      Deno.writeTextFileSync(log, "3\n", { append: true });
      return Promise.resolve();
    });
    assertEquals(await machine.rollback(), []);
    assertEquals(Deno.readTextFileSync(log), "3\n2\n1\n");
    assertEquals(await machine.rollback(), []);
    assertEquals(Deno.readTextFileSync(log), "3\n2\n1\n");
  }));

Deno.test("Machine.rollback() undoes neither a failed nor a tolerated step", () =>
  inTempDir(async (dir) => {
    Deno.writeTextFileSync(`${dir}/theirs`, "");
    const machine = new Machine();
    await machine.apply([write(`${dir}/theirs`, { tolerate: ["exists"] })]);
    await assertRejects(
      () => machine.apply([write(`${dir}/a`), write(`${dir}/theirs`)]),
      Error,
    );
    assertEquals(await machine.rollback(), []);
    assertEquals(names(dir), ["theirs"]);
  }));

Deno.test("Machine.rollback() undoes everything that a killed program may have done", () =>
  inTempDir(async (dir) => {
    const machine = new Machine();
    const error = await assertRejects(
      () =>
        machine.apply([{
          why: "do a part of it",
          do: shell(`echo text >'${dir}/a'; kill -KILL $$`),
          undo: { kind: "remove", path: `${dir}/a` },
          tolerate: ["other"],
        }]),
      Error,
      "Cannot do a part of it: killed by SIGKILL",
    );
    assert(error instanceof ActionError);
    assertEquals(names(dir), ["a"]);
    assertEquals(await machine.rollback(), []);
    assertEquals(names(dir), []);
  }));

Deno.test("Machine.rollback() goes on after a failure and reports it", () =>
  inTempDir(async (dir) => {
    const machine = new Machine();
    await machine.apply([
      write(`${dir}/a`),
      {
        why: "do it",
        do: shell(":"),
        undo: shell("echo 'Operation not permitted' >&2; exit 1"),
      },
    ]);
    const failures = await machine.rollback();
    assertEquals(failures.length, 1);
    assert(failures[0]!.startsWith('Cannot undo "do it": '));
    assert(failures[0]!.includes("Operation not permitted"));
    assertEquals(names(dir), []);
  }));

Deno.test("Machine.rollback() is content when a thing is gone already", async () => {
  const machine = new Machine();
  await machine.apply([{
    why: "do it",
    do: shell(":"),
    undo: shell("echo 'Cannot find device \"x\"' >&2; exit 1"),
  }]);
  assertEquals(await machine.rollback(), []);
});

Deno.test("Machine.rollback() keeps what others use by now", async (test) => {
  const answers: Record<string, boolean> = {
    "": false,
    "[]": false,
    "[ ]\n": false,
    '[{"ifname":"veth1"}]': true,
    "veth1\n": true,
  };
  for (const [answer, kept] of Object.entries(answers)) {
    await test.step(JSON.stringify(answer), () =>
      inTempDir(async (dir) => {
        const machine = new Machine();
        const keepIf = command("sh", ["-c", `printf %s '${answer}'`]);
        await machine.apply([write(`${dir}/a`, { keepIf })]);
        assertEquals(await machine.rollback(), []);
        assertEquals(names(dir), kept ? ["a"] : []);
      }));
  }
});

Deno.test("Machine.rollback() waits until nobody begins to use a shared thing", () =>
  inTempDir(async (dir) => {
    const undoLock = `${dir}/lock`;
    const joining = Deno.openSync(undoLock, { write: true, create: true });
    await joining.lock(false);
    const machine = new Machine();
    const keepIf = command("sh", ["-c", `cat '${dir}/users'`]);
    await machine.apply([write(`${dir}/thing`, { keepIf, undoLock })]);
    const rolledBack = machine.rollback();
    // Whoever joins while the rollback waits is seen by it.
    Deno.writeTextFileSync(`${dir}/users`, "somebody\n");
    joining.close();
    assertEquals(await rolledBack, []);
    assertEquals(names(dir), ["lock", "thing", "users"]);
  }));

Deno.test("Machine.rollback() keeps a shared thing that it cannot lock", () =>
  inTempDir(async (dir) => {
    const machine = new Machine();
    await machine.apply([write(`${dir}/thing`, { undoLock: `${dir}/none/lock` })]);
    const failures = await machine.rollback();
    assertEquals(failures.length, 1);
    assertEquals(names(dir), ["thing"]);
  }));

Deno.test("Machine.apply() does not write a kernel variable that is right already", async () => {
  // Nobody may write this one, not even root: only reading can succeed.
  const key = "kernel/ostype";
  await new Machine().apply([{ why: "set it", do: sysctl(key, "Linux") }]);
  await assertRejects(
    () => new Machine().apply([{ why: "set it", do: sysctl(key, "Minix") }]),
    Error,
    "Cannot set it",
  );
});

Deno.test("Machine.apply() passes over an optional variable, and says when it cannot be set", async () => {
  const said: unknown[] = [];
  const { error } = console;
  console.error = (line) => said.push(line);
  await new Machine().apply([
    sysctl("kernel/ostype", "Minix", { optional: true }),
    sysctl("kernel/ostype", "Linux", { optional: true }),
    sysctl("net/no/such", "1", { optional: true }),
  ].map((action, index) => ({ why: `set ${index}`, do: action }))).finally(() => {
    console.error = error;
  });
  assertEquals(said, ["Cannot set 0: the variable cannot be written; going on without"]);
});

Deno.test("Machine.apply() starts no step once it is aborted", () =>
  inTempDir(async (dir) => {
    const controller = new AbortController();
    const machine = new Machine({ signal: controller.signal });
    const applied = machine.apply([write(`${dir}/a`), write(`${dir}/b`)]);
    controller.abort(new Error("stopped by SIGTERM"));
    await assertRejects(() => applied, Error, "stopped by SIGTERM");
    assertEquals(names(dir), ["a"]);
    assertEquals(await machine.rollback(), []);
    assertEquals(names(dir), []);
  }));

Deno.test("Machine.rollback() carries out the plan of an undo after an abort", () =>
  inTempDir(async (dir) => {
    const controller = new AbortController();
    const machine = new Machine({ signal: controller.signal });
    const { undo: _, ...step } = write(`${dir}/a`);
    machine.onRollback("write", async () => void await machine.apply([step]));
    controller.abort(new Error("stopped by SIGTERM"));
    assertEquals(await machine.rollback(), []);
    assertEquals(names(dir), ["a"]);
  }));

Deno.test("Machine.query() gives stdout, tolerates, and throws", async () => {
  const machine = new Machine();
  const failing = command("sh", ["-c", "echo 'File exists' >&2; exit 1"]);
  assertEquals(await machine.query(command("sh", ["-c", "echo x"])), "x\n");
  assertEquals(
    await machine.query(failing, { tolerate: ["exists"] }),
    undefined,
  );
  await assertRejects(
    () => machine.query(failing, { why: 'look at "x"' }),
    Error,
    'Cannot look at "x": File exists',
  );
});

Deno.test("Machine.query() reads a list again that changed while it was read", async (test) => {
  const interrupted = "echo 'Dump was interrupted and may be inconsistent.' >&2";
  const ask = async (dir: string, times: number) => {
    const script = `n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) >n; echo $n; ` +
      `[ $n -ge ${times} ] || ${interrupted}`;
    return await new Machine().query(command("sh", ["-c", `cd '${dir}'; ${script}`]));
  };
  await test.step("until it is whole", () =>
    inTempDir(async (dir) => assertEquals(await ask(dir, 2), "2\n")));
  await test.step("five times at most", () =>
    inTempDir(async (dir) => assertEquals(await ask(dir, 99), "4\n")));
});

Deno.test("DryRun records steps, does nothing and still asks", () =>
  inTempDir(async (dir) => {
    const host = new DryRun();
    const step = write(`${dir}/a`);
    assertEquals(await host.apply([step]), "");
    assertEquals(host.steps, [step]);
    assertEquals(names(dir), []);
    assertEquals(await host.query(command("sh", ["-c", "echo x"])), "x\n");
  }));
