// SMP over Bluetooth LE with webbluetooth: connections, requests and answers, and the upload of an image.

import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { decode, encode } from 'cborg'
import webbluetooth from 'webbluetooth'

const SERVICE = '8d53dc1d-1db7-4cd3-868b-8a527460aa84'
const SMP = 'da2e7828-fbce-4e01-ae9e-261174997c48'
export const READ = 0, WRITE = 2
export const OS = 0, IMAGE = 1
export const RESET = 5, PARAMETERS = 6, STATE = 0, UPLOAD = 1
// webbluetooth does not tell the MTU; this fits every connection that has exchanged one, and BlueZ always does.
const ROOM = 244

// The device has refused a request, or does not run what it should.
export class Refused extends Error {}
// The connection is lost, or was never made.
export class Lost extends Error {}

// Connects and does some work; again, when the connection is lost in the middle.
export async function patiently (address, work, attempts = 5) {
  for (let attempt = 1; ; attempt++) {
    let link
    try {
      link = await Link.connect(address)
      return await work(link)
    } catch (error) {
      if (error instanceof Refused || attempt === attempts) throw error
      console.error(`again, because of: ${error.message}`)
      await sleep(1000)
    } finally {
      link?.close()
    }
  }
}

// Requests and answers over a connection, one at a time.
class Link {
  static async connect (address) {
    const deviceFound = (device) => device.id.toUpperCase() === address.toUpperCase()
    const bluetooth = new webbluetooth.Bluetooth({ deviceFound, scanTime: 10 })
    const lost = (error) => { throw new Lost(`no connection: ${error?.message ?? error}`) }
    const device = await bluetooth.requestDevice({ acceptAllDevices: true, optionalServices: [SERVICE] }).catch(lost)
    try {
      const server = await device.gatt.connect()
      const service = await server.getPrimaryService(SERVICE)
      const link = new Link(device, await service.getCharacteristic(SMP))
      await link.characteristic.startNotifications()
      return link
    } catch (error) {
      // A device that is connected does not advertise, and would not be found again.
      device.gatt.disconnect()
      return lost(error)
    }
  }

  constructor (device, characteristic) {
    Object.assign(this, { device, characteristic, sequence: 0, pieces: Buffer.alloc(0), heard: () => {} })
    this.lost = new Promise((resolve) => device.addEventListener('gattserverdisconnected', resolve, { once: true }))
    characteristic.addEventListener('characteristicvaluechanged', ({ target: { value } }) => {
      this.pieces = Buffer.concat([this.pieces, Buffer.from(value.buffer, value.byteOffset, value.byteLength)])
      while (this.pieces.length >= 8 && this.pieces.length >= 8 + this.pieces.readUInt16BE(2)) {
        const end = 8 + this.pieces.readUInt16BE(2)
        this.heard(this.pieces.subarray(0, end))
        this.pieces = this.pieces.subarray(end)
      }
    })
  }

  close () {
    this.device.gatt.disconnect()
  }

  // Sends a request; what the device answers.
  async ask (op, group, command, body = {}, seconds = 10) {
    const payload = encode(body)
    const sequence = this.sequence
    this.sequence = (sequence + 1) % 256
    const head = [8 | op, 0, payload.length >> 8, payload.length & 0xff, 0, group, sequence, command]
    const packet = Uint8Array.from([...head, ...payload])
    const answered = new Promise((resolve) => {
      this.heard = (answer) => { if (answer[6] === sequence) resolve(answer) }
    })
    for (let start = 0; start < packet.length; start += ROOM) {
      // A copy: what is behind a view would be written too.
      await this.characteristic.writeValueWithoutResponse(packet.slice(start, start + ROOM))
        .catch((error) => { throw new Lost(`not written: ${error?.message ?? error}`) })
    }
    const timer = new AbortController()
    const answer = await Promise.race([
      answered,
      this.lost.then(() => { throw new Lost('the connection is lost') }),
      sleep(seconds * 1000, null, timer).then(() => { throw new Lost('no answer') })
    ]).finally(() => timer.abort())
    const result = decode(answer.subarray(8))
    if (result.rc || result.err) throw new Refused(JSON.stringify(result))
    return result
  }

  // Sends the image, from where the device says it already has it.
  async upload (image) {
    const longest = Math.min(ROOM, await this.buffer())
    for (let off = 0; off < image.length;) {
      const body = { off, data: new Uint8Array(0) }
      if (off === 0) Object.assign(body, { image: 0, len: image.length, sha: createHash('sha256').update(image).digest() })
      const room = longest - 8 - encode(body).length - 2
      body.data = image.subarray(off, off + room)
      // The first chunk waits for the erase of the slot, and the last for the check of the hash.
      off = (await this.ask(WRITE, IMAGE, UPLOAD, body, 40)).off
    }
  }

  // Size of the device's packet buffers in bytes: 384 where it does not tell.
  async buffer () {
    try {
      return (await this.ask(READ, OS, PARAMETERS)).buf_size
    } catch (error) {
      if (error instanceof Refused) return 384
      throw error
    }
  }

  // The image that runs.
  async active () {
    return (await this.ask(READ, IMAGE, STATE)).images.find((slot) => slot.active)
  }
}
