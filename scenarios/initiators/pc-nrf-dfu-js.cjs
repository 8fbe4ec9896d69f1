// Drives pc-nrf-dfu-js (npm), the library for Secure DFU over a serial line.
// usage: node pc-nrf-dfu-js.cjs PACKAGE.zip PORT
const { SerialPort } = require('serialport');
const dfu = require('pc-nrf-dfu-js');

const [zip, path] = process.argv.slice(2);
const port = new SerialPort({ path, baudRate: 115200, autoOpen: false });

dfu.DfuUpdates.fromZipFilePath(zip)
    .then(updates => new dfu.DfuOperation(updates, new dfu.DfuTransportSerial(port, 16)).start(true))
    .then(() => process.exit(0), error => {
        console.error('failed:', error && error.message || error);
        process.exit(1);
    });
