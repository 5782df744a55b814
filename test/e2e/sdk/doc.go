// Package sdk runs the unmodified Azure SDK for Go against bearerd, as an app
// would that was written for it and now holds no credential, or a dummy. It
// also has the SDK's own managed-identity client judge the emulated IMDS.
//
// It is a module of its own, so that the SDK is no dependency of bearerd's.
package sdk
