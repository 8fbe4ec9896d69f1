// The uploader against a device that loses power, refuses, and goes back.

import assert from 'node:assert/strict'
import { after, afterEach, beforeEach, test } from 'node:test'
import { Device, makeImage } from './device.mjs'

const { image, remove } = makeImage()
let device
beforeEach(async () => { device = await Device.start() })
afterEach(() => device.stop())
after(remove)

async function updated (device) {
  const { code, said } = await device.update(image)
  assert.equal(code, 0, said)
}

test('an update runs and is confirmed', async () => {
  await updated(device)
  assert.deepEqual(await device.running(), ['1.1.0', 'confirmed'])
})

test('power is lost in the middle of the upload', async () => {
  await device.post('/fault', { when: { 'upload-progress': 0.5 }, do: { 'power-loss': { for: '1 s' } } })
  await updated(device)
  assert.deepEqual(await device.running(), ['1.1.0', 'confirmed'])
})

test('power is lost in the middle of the swap', async () => {
  await device.post('/fault', { when: { 'swap-progress': 0.5 }, do: { 'power-loss': { for: '1 s' } } })
  await updated(device)
  assert.deepEqual(await device.running(), ['1.1.0', 'confirmed'])
})

test('a device that goes back is no success', async () => {
  // Power goes in the moment of the confirm: the image was not confirmed, so the old one comes back.
  const when = { request: 'image-state', op: 'write', nth: 2 }
  await device.post('/fault', { when, do: { 'power-loss': { for: '1 s' } } })
  const { code, said } = await device.update(image)
  assert.equal(code, 1)
  assert.match(said, /gone back/)
  assert.deepEqual(await device.running(), ['1.0.0', 'confirmed'])
})

test('a refusal is no success', async () => {
  await device.post('/fault', { when: { request: 'image-upload', nth: 3 }, do: { refuse: { rc: 11 } } })
  assert.equal((await device.update(image)).code, 1)
  assert.deepEqual(await device.running(), ['1.0.0', 'confirmed'])
})
