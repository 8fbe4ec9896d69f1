// Drives web-bluetooth-dfu (npm), a library for browsers, with webbluetooth in the place of the browser.
// usage: node web-bluetooth-dfu.cjs PACKAGE.zip ADDRESS-OR-NAME [--mended]
//
// The library writes every packet by `writeValue`, which webbluetooth 3.7 makes a write request of, whatever the
// characteristic offers. `--mended` lets `writeValue` follow the properties, as browsers do.
const fs = require('fs');
const JSZip = require('jszip');
const crc = require('crc-32');
const { Bluetooth } = require('webbluetooth');
const { BluetoothRemoteGATTCharacteristic } = require('webbluetooth/dist/characteristic');
const SecureDfu = require('web-bluetooth-dfu');

const [zip, wanted, ...options] = process.argv.slice(2);
if (options.includes('--mended')) {
    const writeValue = BluetoothRemoteGATTCharacteristic.prototype.writeValue;
    BluetoothRemoteGATTCharacteristic.prototype.writeValue = function (value) {
        return writeValue.call(this, value, !this.properties.write);
    };
}

const upper = text => String(text).toUpperCase();
// The address in DFU mode: the last byte is the next one.
const next = address => address.replace(/[0-9A-F]{2}$/i, byte => ((parseInt(byte, 16) + 1) & 0xff).toString(16).padStart(2, '0'));
const all = { acceptAllDevices: true, optionalServices: [SecureDfu.SERVICE_UUID] };
const later = (ms, value) => new Promise(resolve => setTimeout(() => resolve(value), ms));

// A scan of webbluetooth tells of a device once, as it is then, and does not end when it has found only others.
async function find(wants) {
    for (let scans = 0; scans < 10; scans++) {
        const bluetooth = new Bluetooth({ scanTime: 2, deviceFound: device => wants(device) });
        const device = await Promise.race([bluetooth.requestDevice(all).catch(() => null), later(2500, null)]);
        if (device) return device;
    }
    throw new Error('no device is found');
}

async function main() {
    const archive = await JSZip.loadAsync(fs.readFileSync(zip));
    const { manifest } = JSON.parse(await archive.file('manifest.json').async('string'));
    const read = name => archive.file(name).async('arraybuffer');
    const dfu = new SecureDfu(crc.buf, new Bluetooth());
    dfu.addEventListener('log', event => console.error(event.message));

    let device = await find(found => upper(found.id) === upper(wanted) || found.name === wanted);
    const bootloader = found => [upper(device.id), upper(next(device.id))].includes(upper(found.id)) && found.name !== device.name;
    const inMode = await dfu.setDfuMode(device);
    let target = inMode || await find(bootloader);
    for (const kind of ['softdevice_bootloader', 'softdevice', 'bootloader', 'application']) {
        const image = manifest[kind];
        if (!image) continue;
        target = target || await find(found => upper(found.id) === upper(next(device.id)) || upper(found.id) === upper(device.id));
        try {
            await dfu.update(target, await read(image.dat_file), await read(image.bin_file));
        } catch (error) {
            // What the device has already is no reason to keep the application from it.
            if (kind === 'application' || !manifest.application || !/version is too low/.test(String(error))) throw error;
            continue;
        }
        console.error(`${kind} is done`);
        target = null;
    }
}

// Nothing that webbluetooth waits for keeps the program alive.
setInterval(() => {}, 1000);
main().then(() => process.exit(0), error => {
    console.error('failed:', error && error.message || error);
    process.exit(1);
});
