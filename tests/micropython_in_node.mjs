// Runs one program with npm's MicroPython for node: node micropython_in_node.mjs PROGRAM ARGUMENT ...
// That build sees no disk, so the sources and the vectors are copied into its memory first.

import fs from "node:fs";
import path from "node:path";
import { loadMicroPython } from "../.build/node/node_modules/@micropython/micropython-webassembly-pyscript/micropython.mjs";

const FOLDERS = ["sdk/handfast", "firmware_micropython/handfast_micropython", "tests"];

const micropython = await loadMicroPython({ heapsize: 64 * 1024 * 1024, stdout: console.log, linebuffer: true });

for (const folder of FOLDERS) {
    for (const name of fs.readdirSync(folder, { recursive: true })) {
        const file = path.posix.join(folder, name.split(path.sep).join("/"));
        if (fs.statSync(file).isDirectory() || file.endsWith(".pyc")) continue;
        micropython.FS.mkdirTree(path.posix.dirname(file));
        micropython.FS.writeFile(file, fs.readFileSync(file));
    }
}

const [program, root, file] = process.argv.slice(2);
const [source] = fs.readFileSync(program, "utf8").split('if __name__ == "__main__":');
micropython.runPython(source);
try {
    micropython.runPython(`tests, results = load(${JSON.stringify(root)}, ${JSON.stringify(file)}), []`);
    micropython.runPython("count = len(tests)");
    const count = micropython.globals.get("count");
    // Garbage is collected between calls from JavaScript only, so each test is a call.
    for (let index = 0; index < count; index++) {
        await micropython.runPythonAsync(`results.append(await run(*tests[${index}]))`);
    }
    micropython.runPython(`report(${JSON.stringify(file)}, results)`);
} catch (error) {
    console.log(error.message);
    process.exitCode = 1;
}
