/** Prints the permissions of the plugin as flags of `deno compile` and `deno run`. */
import { grantsOf, permissionFlags } from "@denocni/denocni/plugin";
import { plugin } from "./wire.ts";

if (import.meta.main) console.log(permissionFlags(grantsOf(plugin.permissions)).join(" "));
