// Package krew pins krew, for the test of the manifest.
package krew
