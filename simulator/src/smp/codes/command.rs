//! The commands that have names.

use super::group;

/// The commands that are named here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// OS group, echo.
    Echo,
    /// OS group, console echo on or off; Zephyr has none.
    ConsoleEcho,
    /// OS group, what the threads do.
    TaskStatistics,
    /// OS group, memory pools; Zephyr has none.
    MemoryPools,
    /// OS group, the real-time clock: shown when read, set when written.
    DateTime,
    /// OS group, reset.
    Reset,
    /// OS group, MCUmgr parameters.
    Params,
    /// OS group, what runs on what.
    Info,
    /// OS group, which bootloader and in which mode.
    BootloaderInfo,
    /// Image group, state: list when read, test or confirm when written.
    ImageState,
    /// Image group, upload.
    ImageUpload,
    /// Image group, erase.
    ImageErase,
    /// Image group, sizes of the slots.
    SlotInfo,
    /// Statistics group, the counters of one group.
    StatisticsData,
    /// Statistics group, names of the groups.
    StatisticsList,
    /// Settings group, one value: shown when read, changed when written.
    Setting,
    /// Settings group, delete a saved value.
    SettingDelete,
    /// Settings group, make the values count.
    SettingsCommit,
    /// Settings group, load all when read, save all when written.
    SettingsLoadSave,
    /// File group, download when read, upload when written.
    File,
    /// File group, length.
    FileStatus,
    /// File group, hash or checksum.
    FileHash,
    /// File group, which hashes and checksums there are.
    FileHashTypes,
    /// File group, close what is open.
    FileClose,
    /// Shell group, run a command line.
    ShellExec,
    /// Enumeration group, number of groups.
    EnumerationCount,
    /// Enumeration group, numbers of the groups.
    EnumerationList,
    /// Enumeration group, number of one group.
    EnumerationSingle,
    /// Enumeration group, names and sizes of groups.
    EnumerationDetails,
    /// Zephyr basic group, erase the storage partition.
    StorageErase,
}

/// Command, group, number in the group, name.
const TABLE: [(Command, u16, u8, &str); 30] = [
    (Command::Echo, group::OS, 0, "echo"),
    (Command::ConsoleEcho, group::OS, 1, "console-echo"),
    (Command::TaskStatistics, group::OS, 2, "task-statistics"),
    (Command::MemoryPools, group::OS, 3, "memory-pools"),
    (Command::DateTime, group::OS, 4, "datetime"),
    (Command::Reset, group::OS, 5, "reset"),
    (Command::Params, group::OS, 6, "params"),
    (Command::Info, group::OS, 7, "info"),
    (Command::BootloaderInfo, group::OS, 8, "bootloader-info"),
    (Command::ImageState, group::IMAGE, 0, "image-state"),
    (Command::ImageUpload, group::IMAGE, 1, "image-upload"),
    (Command::ImageErase, group::IMAGE, 5, "image-erase"),
    (Command::SlotInfo, group::IMAGE, 6, "slot-info"),
    (Command::StatisticsData, group::STATISTICS, 0, "statistics-data"),
    (Command::StatisticsList, group::STATISTICS, 1, "statistics-list"),
    (Command::Setting, group::SETTINGS, 0, "setting"),
    (Command::SettingDelete, group::SETTINGS, 1, "setting-delete"),
    (Command::SettingsCommit, group::SETTINGS, 2, "settings-commit"),
    (Command::SettingsLoadSave, group::SETTINGS, 3, "settings-load-save"),
    (Command::File, group::FILES, 0, "file"),
    (Command::FileStatus, group::FILES, 1, "file-status"),
    (Command::FileHash, group::FILES, 2, "file-hash"),
    (Command::FileHashTypes, group::FILES, 3, "file-hash-types"),
    (Command::FileClose, group::FILES, 4, "file-close"),
    (Command::ShellExec, group::SHELL, 0, "shell-exec"),
    (Command::EnumerationCount, group::ENUMERATION, 0, "enumeration-count"),
    (Command::EnumerationList, group::ENUMERATION, 1, "enumeration-list"),
    (Command::EnumerationSingle, group::ENUMERATION, 2, "enumeration-single"),
    (Command::EnumerationDetails, group::ENUMERATION, 3, "enumeration-details"),
    (Command::StorageErase, group::ZEPHYR_BASIC, 0, "storage-erase"),
];

impl Command {
    /// All of them, in the order of group and number.
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [Self::Echo; TABLE.len()];
        let mut index = 0;
        while index < TABLE.len() {
            all[index] = TABLE[index].0;
            index += 1;
        }
        all
    };

    fn row(self) -> &'static (Self, u16, u8, &'static str) {
        // The rows stand in the order of the variants; a test holds them to it.
        &TABLE[self as usize]
    }

    /// Group and command number.
    #[must_use]
    pub fn numbers(self) -> (u16, u8) {
        let (_, group, number, _) = self.row();
        (*group, *number)
    }

    /// The command with these numbers.
    #[must_use]
    pub fn from_numbers(group: u16, command: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.numbers() == (group, command))
    }

    /// Its name in scenarios and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_row() {
        for command in Command::ALL {
            assert_eq!(command.row().0, command);
            let (group, number) = command.numbers();
            assert_eq!(Command::from_numbers(group, number), Some(command));
        }
        let mut names: Vec<_> = Command::ALL.iter().map(|command| command.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Command::ALL.len());
        assert_eq!(Command::from_numbers(1, 2), None);
    }
}
