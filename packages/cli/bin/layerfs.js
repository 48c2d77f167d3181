#!/usr/bin/env node
// A committed file, so that package managers can link the command before the first build.
import '../dist/main.js';
