/**
 * One at a time in a container's namespace: plugins that look for something free in
 * there and then take it.
 *
 * @module
 */
import { lockExisting, lockFile } from "../host/lock.ts";
import type { NetnsRef } from "../host/command.ts";
import type { Host } from "../ns/machine.ts";
import { requireLock } from "./lock.ts";

/** Milliseconds to wait for the lock. */
const deadline = 15_000;

/** For namespaces whose own file is not opened: those of processes, below `/proc`. */
const common = { dir: "/run/cni/denocni", name: "netns.lock" };

/**
 * Runs a task while nobody else has the lock of the namespace's file, which the
 * reference takes, too. Throws code 11 when the wait is over.
 */
export async function withNetnsLock<T>(
  host: Host,
  { path }: NetnsRef,
  task: () => Promise<T>,
): Promise<T> {
  if (host.dryRun) return await task();
  const locking = await lockExisting(path, { deadline }) ?? await lockCommon(host);
  using _file = requireLock(locking, { path, deadline });
  return await task();
}

async function lockCommon(host: Host): ReturnType<typeof lockFile> {
  const { dir, name } = common;
  await host.apply([{ why: "make the folder of locks", do: { kind: "mkdir", path: dir } }]);
  return await lockFile(`${dir}/${name}`, { mode: 0o600, deadline });
}
