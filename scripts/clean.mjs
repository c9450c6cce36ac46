// Removes the folders named, so that no file of a deleted source stays behind and is run or packed.
import { rmSync } from 'node:fs'

for (const folder of process.argv.slice(2)) rmSync(folder, { recursive: true, force: true })
