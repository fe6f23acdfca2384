/**
 * What launchers run: the first argument names the plugin. The bundle of this
 * file is a script, not a module: it exports nothing and asks for no
 * `import.meta`, so that text of it can be evaluated (`launcher.ts`).
 *
 * @module
 */
import { main } from "../main.ts";

await main(Deno.args[0]!, Deno.args.slice(1));
