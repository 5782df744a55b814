package recorded

const referenceHead = `# Storage clients, from 2009 to now

Clients of Azure Storage that sign with an account's key work through bearerd, with the key replaced by any dummy: the signature is taken off, whatever its form, and the machine's token put in its place. Tokens want a recent version of the protocol, so where a client says an older one in ` + "`x-ms-version`" + `, or none, bearerd says
the least that takes a token: 2017-11-09 to blobs and queues, 2020-12-06 to tables, 2022-11-02 to files and directories, 2024-11-04 to shares. A newer one stays. So an old client is answered by a protocol newer than its own, and this page tells what that means for it. A call that passes with a shared access signature keeps its version, and nothing of
this concerns it.

## What to change in a client

- **The key**: any text in Base64, ` + "`AccountKey=bm90IGEga2V5`" + ` for one. It must decode, for clients sign with it.
- **The endpoint**, one of
  - nothing, with ` + "`HTTPS_PROXY`" + ` and the authority's root trusted ([how](../README.md#point-an-app-at-it));
  - ` + "`DefaultEndpointsProtocol=http`" + ` and ` + "`HTTP_PROXY`" + `: bearerd goes on to the service over TLS, and the client needs to trust nothing. Some, as Python's, want ` + "`EndpointSuffix=core.windows.net`" + ` beside it, or go by https;
  - ` + "`BlobEndpoint=http://127.0.0.1:8180/blob`" + ` (and ` + "`QueueEndpoint`, `TableEndpoint`" + `): a gateway of the configuration.

A link to a blob that the client builds from its endpoint (a shared access signature above all) is signed with the dummy, and the service refuses it.

## What cannot work

A call that the service would refuse, in words about something that the client never did, is refused by bearerd: 403, ` + "`Bearerd-Error: BearerdClientTooOld`" + `, and what to do.

- **Atom on tables.** Tokens begin with version 2020-12-06, and Atom ended with 2015-12-11. Clients that say a version before 2013-08-15 know nothing else; those of before 2015-12-11 are judged by ` + "`Content-Type`, `$format` and, where they read, `Accept`" + `. Deletions have no payload, and pass. What is XML to this day, access policies and the service's properties, passes. A batch is judged by its version, and its parts where they are read ([services.md](services.md)).
- **A copy's source as a path**, ` + "`x-ms-copy-source: /account/container/blob`" + `, as it was before 2012-02-12.

## What is made to work

- **A lease without a duration**, as it was before 2012-02-12: it held for 60 seconds, and bearerd says so.
- **A blob without a type**, as it was before 2009-09-19: it was a block blob, and bearerd says so.

## What differs

Only what Microsoft's [list of versions](https://learn.microsoft.com/rest/api/storageservices/previous-azure-storage-service-versions) tells of; the version that brought it is in parentheses. Not in the tables, for it is in bodies: the service's properties have ` + "`HourMetrics` and `MinuteMetrics` where they had `Metrics`" + ` before 2013-08-15. A copy may go on after the answer since 2012-02-12
(` + "`x-ms-copy-status: pending`" + `).

## Real programs

Each of these runs against Azurite in ` + "`test/e2e`" + `, unchanged, with a dummy key, by all three endpoints above where nothing else is said:

| program | calls |
| --- | --- |
| rclone 1.60 (azureblob) | makes a container, copies there (in blocks) and back, checks, lists, copies within, purges. By a URL of its own it wants ` + "`use_emulator = true`" + ` beside ` + "`endpoint`" + ` |
| azure-storage-legacy 0.9 for Node.js, of 2013 (2012-02-12, 2011-08-18, Atom) | blobs with snapshots and leases; queues. Tables give it the message of ` + "`BearerdClientTooOld`" + `. By ` + "`HTTPS_PROXY`" + ` alone: it knows no path in an endpoint, and leads what it sends in the clear through the proxy to the proxy |
| azure-storage 2.10 for Node.js | blobs with MD5, snapshots and leases; queues; tables. Its batches reach Azurite, which fails, since it looks for the account in the path of each part |
| @azure/storage-blob 12 for Node.js | blobs |
| azblob for Go | blobs, in blocks and ranges; here over HTTP/2 too, and in place of plain http |
| azure-storage-blob, azure-storage-queue and azure-data-tables for Python, of Debian 12 | blobs in blocks, snapshots, leases; queues; tables |

## Requests

Each line is one request, in the order in which the tests send them: to the rules, and through a running bearerd to Azurite, whose status is in the last column. Azurite answers all versions alike, so what differs is what the service's documentation says, not what Azurite does. What a client says dates it: a library speaks the version of about its release.
It takes no token for access policies, which the service does since August 2025 (` + "`getAcl` and `setAcl`" + ` in a role), and has no files.

This page is generated: ` + "`go test ./test/recorded -run Reference -update`" + `.
`
