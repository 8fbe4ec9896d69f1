// A device for every test, without hardware: `brickproof simulate`, which must be on PATH.

import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const TARGET = 'nrf52840-mcuboot-swap-move'
const UPLOADER = fileURLToPath(new URL('uploader.mjs', import.meta.url))

// A simulated device with version 1.0.0, and what can be done to it.
export class Device {
  static async start () {
    const process = spawn('brickproof', ['simulate', '--target', TARGET, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] })
    const lines = createInterface({ input: process.stdout })
    const [ready] = await new Promise((resolve, reject) => {
      lines.once('line', (line) => resolve([JSON.parse(line)]))
      process.once('error', reject)
      process.once('exit', (code) => reject(new Error(`brickproof has ended with ${code}`)))
    })
    return Object.assign(new Device(), ready, { process })
  }

  // Ends it.
  stop () {
    this.process.kill()
  }

  // Does something to it: /power, /reset, /link, /battery, /fault.
  async post (path, body) {
    const answer = await fetch(this.control + path, { method: 'POST', body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(await answer.text())
  }

  // The version in the primary slot, and whether it is confirmed.
  async running () {
    const { slots, state } = await (await fetch(`${this.control}/state`)).json()
    return [slots.find(({ slot }) => slot === 'primary').version, state]
  }

  // Runs the uploader as if the device were on the system's Bluetooth; its exit code and what it writes.
  //
  // A process of its own: webbluetooth opens the bus once for all, and each device has one of its own.
  async update (image) {
    const env = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: this.bus }
    const uploader = spawn(process.execPath, [UPLOADER, this.address, image], { env })
    let said = ''
    uploader.stderr.on('data', (data) => { said += data })
    const code = await new Promise((resolve) => uploader.once('close', resolve))
    return { code, said }
  }
}

// A file with version 1.1.0, signed with the development key that simulated devices trust.
export function makeImage () {
  const folder = mkdtempSync(join(tmpdir(), 'image-'))
  const [app, image] = ['app.bin', 'app.signed.bin'].map((name) => join(folder, name))
  writeFileSync(app, Buffer.alloc(50_000, 'firmware'))
  execFileSync('brickproof', ['image', 'sign', app, image, '--version', '1.1.0'])
  return { image, remove: () => rmSync(folder, { recursive: true }) }
}
