// Which screen an address of annotation is.
import { html } from "../core/dom.js";
import { Empty } from "../components/notice.js";
import DashboardPage from "./dashboard.js";
import ItemPage from "./item.js";
import MatchPage from "./match.js";
import PeoplePage from "./people.js";
import ProjectsPage from "./projects.js";
import QueuePage from "./queue.js";
import ReviewPage from "./review.js";

export const routes = [
  { path: "/projects", page: ProjectsPage, title: "Projects" },
  { path: "/projects/:id", page: QueuePage, title: "Queue" },
  { path: "/projects/:id/dashboard", page: DashboardPage, title: "Dashboard" },
  { path: "/projects/:id/match", page: MatchPage, title: "Does anything match?" },
  { path: "/projects/:id/items/:item", page: ItemPage, title: "Item" },
  { path: "/projects/:id/review/:item", page: ReviewPage, title: "Review" },
  { path: "/people", page: PeoplePage, title: "People" },
];

if (!document.querySelector("link[href='/static/annotate/annotate.css']")) {
  const sheet = document.createElement("link");
  Object.assign(sheet, { rel: "stylesheet", href: "/static/annotate/annotate.css" });
  document.head.append(sheet);
}

const fits = (path, parts) => {
  const wanted = path.split("/").filter(Boolean);
  return wanted.length === parts.length && wanted.every((one, i) => one.startsWith(":") || one === parts[i]);
};

/** The page of an address: { parts, query, search, path }. */
export default function Annotate(place) {
  const found = routes.find(({ path }) => fits(path, place.parts));
  if (!found) return html`<${Empty} title="Nothing is here"><p><a href="/projects">All projects</a></p></${Empty}>`;
  return html`<${found.page} key=${found.path} ...${place} />`;
}
