"""The files of this machine as paramiko's SFTP server shows them."""
import os

import paramiko
from paramiko import SFTP_OK, SFTPAttributes, SFTPHandle, SFTPServer, SFTPServerInterface


def guarded(method):
    def call(*arguments):
        try:
            return method(*arguments)
        except OSError as error:
            return SFTPServer.convert_errno(error.errno)
    return call


class Handle(SFTPHandle):
    @guarded
    def stat(self):
        return SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))

    @guarded
    def chattr(self, attributes):
        SFTPServer.set_file_attr(self.filename, attributes)
        return SFTP_OK


class Files(SFTPServerInterface):
    @guarded
    def list_folder(self, path):
        entries = []
        for name in os.listdir(path):
            entry = SFTPAttributes.from_stat(os.lstat(os.path.join(path, name)))
            entry.filename = name
            entries.append(entry)
        return entries

    @guarded
    def stat(self, path):
        return SFTPAttributes.from_stat(os.stat(path))

    @guarded
    def lstat(self, path):
        return SFTPAttributes.from_stat(os.lstat(path))

    @guarded
    def open(self, path, flags, attributes):
        mode = attributes.st_mode if attributes.st_mode is not None else 0o666
        fd = os.open(path, flags, mode)
        how = "r+b" if flags & os.O_RDWR else "wb" if flags & os.O_WRONLY else "rb"
        file = os.fdopen(fd, "ab" if flags & os.O_APPEND and how == "wb" else how)
        handle = Handle(flags)
        handle.filename, handle.readfile, handle.writefile = path, file, file
        return handle

    @guarded
    def remove(self, path):
        os.remove(path)
        return SFTP_OK

    @guarded
    def rename(self, old, new):
        if os.path.lexists(new):
            return paramiko.SFTP_FAILURE
        os.rename(old, new)
        return SFTP_OK

    @guarded
    def posix_rename(self, old, new):
        os.rename(old, new)
        return SFTP_OK

    @guarded
    def mkdir(self, path, attributes):
        os.mkdir(path)
        return SFTP_OK

    @guarded
    def rmdir(self, path):
        os.rmdir(path)
        return SFTP_OK

    @guarded
    def chattr(self, path, attributes):
        SFTPServer.set_file_attr(path, attributes)
        return SFTP_OK

    def canonicalize(self, path):
        return os.path.realpath(path)

    @guarded
    def symlink(self, target, path):
        os.symlink(target, path)
        return SFTP_OK

    @guarded
    def readlink(self, path):
        return os.readlink(path)
