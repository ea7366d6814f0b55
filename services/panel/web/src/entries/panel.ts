/** On every page: htmx as this box needs it, dialogs, copy buttons, local times. */

import htmx from "htmx.org";
import { installCopying } from "../panel/copying";
import { installDialogs } from "../panel/dialogs";
import { AWAY, clearNotices, notice, saidBy } from "../panel/notices";
import { showTimes } from "../panel/times";

Object.assign(htmx.config, {
  // The content security policy forbids both.
  includeIndicatorStyles: false,
  allowEval: false,
  allowScriptTags: false,
  selfRequestsOnly: true,
  // Pages may hold what people said; none is kept in the browser.
  historyCacheSize: 0,
  refreshOnHistoryMiss: true,
  responseHandling: [
    { code: "204", swap: false },
    { code: "[23]..", swap: true },
    // A form with its mistakes marked.
    { code: "422", swap: true },
    { code: "...", swap: false, error: true },
  ],
});

interface Detail {
  elt: Element;
  headers: Record<string, string>;
  xhr: XMLHttpRequest;
}

function on(name: string, handle: (detail: Detail) => void): void {
  document.addEventListener(name, (event) => handle((event as CustomEvent<Detail>).detail));
}

on("htmx:configRequest", ({ headers }) => (headers["X-Earshot-Client"] = "1"));
on("htmx:beforeRequest", () => clearNotices());
on("htmx:responseError", ({ xhr }) => {
  if (xhr.status === 401) location.reload();
  else notice(saidBy(xhr.status, xhr.responseText));
});
on("htmx:sendError", () => notice(AWAY));
on("htmx:timeout", () => notice(AWAY));
on("htmx:load", ({ elt }) => showTimes(elt));
installDialogs();
installCopying();
showTimes();
