// Updates a device over Bluetooth LE: upload, test, reset, and confirm when the new image runs.
//
// usage: node uploader.mjs ADDRESS IMAGE

import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { IMAGE, Lost, OS, READ, Refused, RESET, STATE, WRITE, patiently } from './smp-link.mjs'

// Updates the device; throws if the image does not run confirmed in the end.
export async function update (address, image) {
  const hash = await patiently(address, (link) => install(link, image))
  await patiently(address, (link) => confirm(link, hash))
}

// Uploads the image, has it tested and resets; its hash.
async function install (link, image) {
  // After a loss of link or power the device goes on from what it has.
  await link.upload(image)
  const { images } = await link.ask(READ, IMAGE, STATE)
  const { hash } = images.find((slot) => slot.slot === 1)
  await link.ask(WRITE, IMAGE, STATE, { hash, confirm: false })
  await link.ask(WRITE, OS, RESET).catch((error) => { if (!(error instanceof Lost)) throw error })
  await Promise.race([link.lost, sleep(20_000)])
  return hash
}

// Confirms the image if it is the one that runs.
async function confirm (link, hash) {
  if (Buffer.compare((await link.active()).hash, hash) !== 0) throw new Refused('the device has gone back to its old image')
  await link.ask(WRITE, IMAGE, STATE, { hash, confirm: true })
  if (!(await link.active()).confirmed) throw new Refused('the image is not confirmed')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [address, file] = process.argv.slice(2)
  await update(address, readFileSync(file)).then(
    () => process.exit(0),
    (error) => { console.error(error.message); process.exit(1) }
  )
}
