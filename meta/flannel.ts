/**
 * flannel: writes the configuration of another plugin (bridge, unless told
 * otherwise) from what flanneld knows of this host, and calls that plugin.
 *
 * Owns: the delegate's configuration in `<dataDir>/<container>`, which DEL needs
 * and removes; everything else is the delegate's. Runs: the delegate.
 *
 * ```json
 * { "cniVersion": "1.0.0", "name": "pods", "type": "flannel" }
 * ```
 *
 * @module
 */
import type { Delegate, GcRequest, Request } from "../cni/plugin.ts";
import type { JsonObject, Result } from "../cni/types.ts";
import type { Step } from "../host/step.ts";
import type { Conf } from "./flannel/conf.ts";
import { isObject, lookup } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { listNames, readOwnJson } from "../host/files.ts";
import { containerNetns } from "../recipes/container.ts";
import { readNamedFile } from "../recipes/files.ts";
import { removeAll } from "../recipes/removal.ts";
import { conf, delegateConf, readSubnetEnv } from "./flannel/conf.ts";

/** The flannel plugin. */
export const plugin = definePlugin<Conf>({
  type: "flannel",
  about: "calls another plugin with the subnet that flanneld has for this host",
  needs: "flanneld; the plugin it calls",
  permissions: { run: "any", read: true, write: true },
  conf,
  add,
  check,
  del,
  gc,
  status,
});

async function add(req: Request<Conf>): Promise<Result> {
  const { conf, host, network: name } = req;
  containerNetns(req);
  const env = readSubnetEnv(conf.subnetFile);
  const config = delegateConf(conf, { name, ...versionOf(req), env });
  await host.apply(planKeep(pathOf(req), config));
  return await req.delegate(config.type, config).add();
}

/** The version as the configuration has it: a delegate must take an absent one for the oldest, too. */
function versionOf({ raw }: Request<Conf>): { readonly cniVersion?: string } {
  const version = lookup(raw, "cniVersion");
  return typeof version === "string" && version !== "" ? { cniVersion: version } : {};
}

/** File name and format are those of flannel's own plugin: each can remove what the other has added. */
function pathOf({ conf, containerId }: Pick<Request<Conf>, "conf" | "containerId">): string {
  return `${conf.dataDir}/${containerId}`;
}

/** Kept before the delegate is called; of a repeated ADD the first one's file stays. */
export function planKeep(path: string, config: JsonObject): Step[] {
  const isNew = readNamedFile(path) === undefined;
  const dir = path.slice(0, path.lastIndexOf("/"));
  const temporary = temporaryOf(path);
  return [
    { why: `make "${dir}"`, do: { kind: "mkdir", path: dir, mode: 0o700 } },
    {
      why: `keep the delegate's configuration in "${path}"`,
      do: { kind: "write", path, text: JSON.stringify(config), mode: 0o600, sync: true, temporary },
      ...(isNew && { undo: { kind: "remove", path } }),
    },
  ];
}

/** A kept configuration; where it is lost or damaged, what ADD would keep now. */
function kept(
  req: Request<Conf>,
  path: string | undefined,
): JsonObject & { readonly type: string } {
  const stored = path === undefined ? undefined : readOwnJson(path);
  const type = isObject(stored) ? stored["type"] : undefined;
  if (typeof type === "string") return { ...stored as JsonObject, type };
  const { conf, network: name } = req;
  const env = readNamedFile(conf.subnetFile) && readSubnetEnv(conf.subnetFile);
  return delegateConf(conf, { name, ...versionOf(req), env: env || undefined });
}

/** The delegate with its kept configuration, and this call's version and `prevResult`. */
function keptDelegate(req: Request<Conf>): Delegate {
  const config = kept(req, pathOf(req));
  const prevResult = lookup(req.raw, "prevResult") as JsonObject | undefined;
  return req.delegate(config.type, {
    ...config,
    ...versionOf(req),
    ...(prevResult && { prevResult }),
  });
}

async function check(req: Request<Conf>): Promise<void> {
  const path = pathOf(req);
  if (readNamedFile(path) === undefined) {
    throw new CniError(codes.checkFailed, `Cannot find "${path}": ADD keeps it until DEL`);
  }
  await keptDelegate(req).check();
}

/**
 * One file may have been for two attachments of a container, and is gone with the
 * first one's DEL: without it the delegate is called as ADD would call it now, if
 * flanneld's file is there.
 */
async function del(req: Request<Conf>): Promise<void> {
  const path = pathOf(req);
  const isKnown = [path, req.conf.subnetFile].some((path) => readNamedFile(path) !== undefined);
  if (!isKnown) return;
  await keptDelegate(req).del();
  await req.host.apply(planForget(path));
}

function planForget(path: string): Step[] {
  return [temporaryOf(path), path].map((path) => ({
    why: `remove "${path}"`,
    do: { kind: "remove", path },
  }));
}

/** No container's name starts with a dot. */
function temporaryOf(path: string): string {
  const name = path.lastIndexOf("/") + 1;
  return `${path.slice(0, name)}.${path.slice(name)}`;
}

/** The delegate collects its own; then the configurations of its containers are not needed any more. */
async function gc(req: GcRequest<Conf>): Promise<void> {
  const paths = listNames(req.conf.dataDir).map((name) => `${req.conf.dataDir}/${name}`);
  const own = paths.filter((path) => nameIn(path) === req.network);
  const valid = new Set(
    req.valid.map(({ containerId }) => pathOf({ conf: req.conf, containerId })),
  );
  const config = kept(req, own[0]);
  await removeAll([
    {
      why: `collect what "${config.type}" has left`,
      run: () =>
        req.delegate(config.type, { ...config, ...versionOf(req), ...listsOf(req.raw) }).gc(),
    },
    {
      why: "remove stale configurations",
      run: async () => {
        await req.host.apply(own.filter((path) => !valid.has(path)).flatMap(planForget));
      },
      onlyIfClean: true,
    },
  ]);
}

function nameIn(path: string): unknown {
  const config = readOwnJson(path);
  return isObject(config) ? config["name"] : undefined;
}

/** The keys that tell a GC which attachments are valid. */
function listsOf(raw: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(raw).filter(([key]) => /^cni\.dev\//i.test(key)));
}

async function status(req: Request<Conf>): Promise<void> {
  const { conf, network: name } = req;
  if (readNamedFile(conf.subnetFile) === undefined) {
    throw new CniError(
      codes.notAvailable,
      `Cannot serve ADD: "${conf.subnetFile}" is missing: does flanneld run on this host?`,
    );
  }
  const env = readSubnetEnv(conf.subnetFile);
  const config = delegateConf(conf, { name, ...versionOf(req), env });
  await req.delegate(config.type, config).status();
}

if (import.meta.main) await serve(plugin);
